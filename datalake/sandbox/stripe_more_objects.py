"""The shape of Stripe's objects beyond the core, as API 2026-10-28.endive shows them; what happens to them: `stripe_company`.

A shape holds Stripe's usual value for every field that always comes. `make` fills in what an object has of its own.
"""

from __future__ import annotations

import copy
from typing import Any

from datalake.sandbox.stripe_objects import Object, address


def make(kind: str, **known: Any) -> Object:
    """A whole object of a kind (the value of `object`)."""
    return {"object": kind, **copy.deepcopy(SHAPES[kind]), **known}


def _nulls(*names: str) -> Object:
    return dict.fromkeys(names)


_AMOUNTS = ("amount_authorized", "amount_canceled", "amount_failed", "amount_guaranteed", "amount_refunded")
_MERCHANT: Object = {
    "category": "computer_software_stores",
    "category_code": "5734",
    **_nulls("postal_code", "state", "tax_id", "terminal_id", "url"),
    "city": "São Paulo",
    "country": "BR",
    "name": "Loja de Peças",
    "network_id": "1234567890",
}

SHAPES: dict[str, Object] = {
    "application_fee": {
        **_nulls("balance_transaction", "fee_source", "originating_transaction"),
        "amount_refunded": 0,
        "application": "ca_sandbox",
        "livemode": True,
        "refunded": False,
    },
    "balance": {"livemode": True},
    "bank_account": {
        "account_holder_name": None,
        "account_holder_type": "company",
        "account_type": None,
        "bank_name": "BANCO DO BRASIL",
        "country": "BR",
        "currency": "brl",
        "metadata": {},
        "routing_number": "001-0001",
        "status": "new",
    },
    "billing.alert": {"alert_type": "usage_threshold", "livemode": True, "status": "active"},
    "billing.credit_balance_transaction": {**_nulls("credit", "debit", "test_clock"), "livemode": True},
    "billing.credit_grant": {
        **_nulls("customer_account", "expires_at", "test_clock", "voided_at"),
        "applicability_config": {"scope": {"price_type": "metered"}},
        "category": "promotional",
        "livemode": True,
        "metadata": {},
        "name": "Boas-vindas",
        "priority": 50,
    },
    "billing.meter": {
        "customer_mapping": {"event_payload_key": "stripe_customer_id", "type": "by_id"},
        "default_aggregation": {"formula": "sum"},
        "event_time_window": None,
        "livemode": True,
        "status": "active",
        "status_transitions": {"deactivated_at": None},
        "value_settings": {"event_payload_key": "value"},
    },
    "billing.meter_event_summary": {"livemode": True},
    "billing_portal.configuration": {
        **_nulls("application", "default_return_url", "name"),
        "active": True,
        "business_profile": _nulls("headline", "privacy_policy_url", "terms_of_service_url"),
        "features": {
            "customer_update": {"allowed_updates": ["email", "tax_id"], "enabled": True},
            "invoice_history": {"enabled": True},
            "payment_method_update": {"enabled": True, "payment_method_configuration": None},
            "subscription_cancel": {
                "cancellation_reason": {"enabled": False, "feedback_options": None, "options": ["too_expensive", "other"]},
                "enabled": True,
                "mode": "at_period_end",
                "proration_behavior": "none",
            },
            "subscription_pause": {
                "duration": {"interval_options": [], "type": "indefinite"},
                "enabled": False,
            },
            "subscription_update": {
                "billing_cycle_anchor": None,
                "default_allowed_updates": [],
                "enabled": False,
                "proration_behavior": "none",
                "schedule_at_period_end": {"conditions": []},
                "trial_update_behavior": "end_trial",
            },
        },
        "is_default": False,
        "livemode": True,
        "login_page": {"enabled": False, "url": None},
        "metadata": {},
    },
    "capability": {"requested": True, "status": "active"},
    "card": {
        **_nulls("address_city", "address_country", "address_line1", "address_line1_check", "address_line2"),
        **_nulls("address_state", "address_zip", "address_zip_check", "dynamic_last4", "regulated_status"),
        **_nulls("tokenization_method"),
        "brand": "Visa",
        "country": "BR",
        "cvc_check": "pass",
        "exp_month": 8,
        "exp_year": 2030,
        "funding": "credit",
        "metadata": {},
        "name": None,
    },
    "checkout.session": {
        **_nulls("after_expiration", "allow_promotion_codes", "allowed_payment_method_types", "billing_address_collection"),
        **_nulls("cancel_url", "client_reference_id", "client_secret", "collected_information", "consent"),
        **_nulls("consent_collection", "currency_conversion", "customer", "customer_account", "customer_details"),
        **_nulls("customer_email", "integration_identifier", "invoice", "invoice_creation", "locale", "managed_payments"),
        **_nulls("origin_context", "payment_intent", "payment_link", "payment_method_configuration_details", "permissions"),
        **_nulls("recovered_from", "saved_payment_method_options", "setup_intent", "shipping_address_collection"),
        **_nulls("shipping_cost", "submit_type", "subscription", "wallet_options"),
        "adaptive_pricing": {"enabled": False},
        "automatic_tax": {"enabled": False, **_nulls("liability", "provider", "status")},
        "custom_fields": [],
        "custom_text": _nulls("after_submit", "shipping_address", "submit", "terms_of_service_acceptance"),
        "customer_creation": "if_required",
        "discounts": [],
        "livemode": True,
        "metadata": {},
        "mode": "payment",
        "payment_method_collection": "if_required",
        "payment_method_options": {},
        "payment_method_types": ["card", "boleto"],
        "payment_status": "unpaid",
        "phone_number_collection": {"enabled": False},
        "shipping_options": [],
        "status": "open",
        "success_url": "https://cafe-codigo.example.com/obrigado",
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
    },
    "customer_balance_transaction": {
        **_nulls("checkout_session", "credit_note", "customer_account", "invoice"),
        "livemode": True,
        "metadata": {},
        "type": "adjustment",
    },
    "customer_cash_balance_transaction": {"customer_account": None, "livemode": True, "type": "funded"},
    "entitlements.active_entitlement": {"livemode": True},
    "entitlements.active_entitlement_summary": {"livemode": True},
    "entitlements.feature": {"active": True, "livemode": True, "metadata": {}},
    "exchange_rate": {},
    "fee_refund": {"balance_transaction": None, "metadata": {}},
    "file": {"expires_at": None, "title": None},
    "file_link": {"expired": False, "expires_at": None, "livemode": True, "metadata": {}},
    "invoice_rendering_template": {"livemode": True, "metadata": {}, "status": "active", "version": 1},
    "issuing.authorization": {
        **_nulls("card_presence", "fleet", "fuel", "network_data", "pending_request", "verified_by_fraud_challenge", "wallet"),
        "amount_details": {"atm_fee": None, "cashback_amount": 0},
        "approved": True,
        "authorization_method": "online",
        "balance_transactions": [],
        "currency": "brl",
        "livemode": True,
        "merchant_currency": "brl",
        "merchant_data": _MERCHANT,
        "metadata": {},
        "request_history": [],
        "status": "pending",
        "transactions": [],
        "verification_data": {
            "address_line1_check": "not_provided",
            "address_postal_code_check": "not_provided",
            **_nulls("authentication_exemption", "postal_code", "three_d_secure"),
            "cvc_check": "match",
            "expiry_check": "match",
        },
    },
    "issuing.card": {
        **_nulls("cancellation_reason", "latest_fraud_warning", "lifecycle_controls", "personalization_design"),
        **_nulls("replaced_by", "replacement_for", "replacement_reason", "second_line", "shipping", "wallets"),
        "brand": "Visa",
        "currency": "brl",
        "exp_month": 8,
        "exp_year": 2029,
        "livemode": True,
        "metadata": {},
        "spending_controls": {
            **_nulls("allowed_card_presences", "allowed_categories", "allowed_merchant_countries", "blocked_card_presences"),
            **_nulls("blocked_categories", "blocked_merchant_countries", "spending_limits_currency"),
            "spending_limits": [],
        },
        "status": "active",
        "type": "virtual",
    },
    "issuing.cardholder": {
        **_nulls("company", "individual", "preferred_locales", "spending_controls"),
        "billing": {"address": address(city="São Paulo", country="BR", line1="Rua Augusta 1", postal_code="01000-000")},
        "livemode": True,
        "metadata": {},
        "requirements": {"disabled_reason": None, "past_due": []},
        "status": "active",
        "type": "individual",
    },
    "issuing.dispute": {
        "balance_transactions": [],
        "currency": "brl",
        "evidence": {
            "other": {**_nulls("additional_documentation", "product_description", "product_type"), "explanation": "Não fui eu"},
            "reason": "other",
        },
        "livemode": True,
        "metadata": {},
        "status": "unsubmitted",
    },
    "issuing.transaction": {
        **_nulls("balance_transaction", "dispute", "network_data", "wallet"),
        "amount_details": {"atm_fee": None, "cashback_amount": 0},
        "currency": "brl",
        "livemode": True,
        "merchant_currency": "brl",
        "merchant_data": _MERCHANT,
        "metadata": {},
        "type": "capture",
    },
    "item": {"adjustable_quantity": None, "amount_discount": 0, "amount_tax": 0, "discounts": [], "metadata": {}, "taxes": []},
    "payment_attempt_record": {
        **_nulls("application", "customer_presence", "description", "shipping_details"),
        "livemode": True,
        "metadata": {},
        "payment_method_details": {"billing_details": None, "custom": {"display_name": "Pix", "type": None}, "type": "custom"},
        "processor_details": {"custom": {"payment_reference": "E123"}, "type": "custom"},
        "reported_by": "self",
    },
    "payment_link": {
        **_nulls("application", "application_fee_amount", "application_fee_percent", "consent_collection"),
        **_nulls("inactive_message", "invoice_creation", "managed_payments", "on_behalf_of", "payment_intent_data"),
        **_nulls("payment_method_options", "payment_method_types", "restrictions", "shipping_address_collection"),
        **_nulls("subscription_data", "transfer_data"),
        "active": True,
        "after_completion": {"hosted_confirmation": {"custom_message": None}, "type": "hosted_confirmation"},
        "allow_promotion_codes": False,
        "automatic_tax": {"enabled": False, "liability": None},
        "billing_address_collection": "auto",
        "custom_fields": [],
        "custom_text": _nulls("after_submit", "shipping_address", "submit", "terms_of_service_acceptance"),
        "customer_creation": "if_required",
        "livemode": True,
        "metadata": {},
        "payment_method_collection": "always",
        "phone_number_collection": {"enabled": False},
        "shipping_options": [],
        "submit_type": "auto",
        "tax_id_collection": {"enabled": False, "required": "never"},
    },
    "payment_method": {"allow_redisplay": "unspecified", "customer_account": None, "livemode": True, "metadata": {}},
    "payment_record": {
        **_nulls("application", "customer_presence", "description", "shipping_details"),
        "livemode": True,
        "metadata": {},
        "payment_method_details": {"billing_details": None, "custom": {"display_name": "Pix", "type": None}, "type": "custom"},
        "processor_details": {"custom": {"payment_reference": "E123"}, "type": "custom"},
        "reported_by": "self",
    },
    "person": {
        "id_number_provided": True,
        "metadata": {},
        "verification": {
            **_nulls("additional_document", "details", "details_code"),
            "document": _nulls("back", "details", "details_code", "front"),
            "status": "verified",
        },
    },
    "plan": {},
    "product_feature": {"livemode": True},
    "quote": {
        **_nulls("application", "application_fee_amount", "application_fee_percent", "customer_account", "description"),
        **_nulls("footer", "from_quote", "header", "invoice", "number", "on_behalf_of", "subscription"),
        **_nulls("subscription_schedule", "test_clock", "transfer_data"),
        "automatic_tax": {"enabled": False, **_nulls("liability", "provider", "status")},
        "collection_method": "send_invoice",
        "default_tax_rates": [],
        "discounts": [],
        "invoice_settings": {
            "days_until_due": 30,
            **_nulls("custom_fields", "description", "footer"),
            "issuer": {"type": "self"},
        },
        "livemode": True,
        "metadata": {},
        "status": "draft",
        "status_transitions": _nulls("accepted_at", "canceled_at", "finalized_at"),
        "subscription_data": {
            "billing_mode": {"type": "classic"},
            **_nulls("description", "effective_date", "trial_period_days"),
            "metadata": {},
        },
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
    },
    "radar.early_fraud_warning": {"actionable": True, "fraud_type": "unauthorized_use_of_card", "livemode": True},
    "radar.value_list": {"created_by": "risco@example.com", "item_type": "email", "livemode": True, "metadata": {}},
    "reporting.report_run": {**_nulls("error", "result", "succeeded_at"), "livemode": True, "status": "pending"},
    "reporting.report_type": {"default_columns": ["reporting_category", "net"], "livemode": True, "version": 1},
    "review": {
        **_nulls("closed_reason", "session"),
        "billing_zip": "01000-000",
        "ip_address": "203.0.113.7",
        "ip_address_location": {"city": "Recife", "country": "BR", "latitude": -8.05, "longitude": -34.9, "region": "PE"},
        "livemode": True,
        "open": True,
        "opened_reason": "rule",
        "reason": "rule",
    },
    "setup_attempt": {
        **_nulls("application", "customer_account", "flow_directions", "on_behalf_of", "setup_error"),
        "livemode": True,
        "payment_method_details": {"card": {"three_d_secure": None}, "type": "card"},
        "usage": "off_session",
    },
    "setup_intent": {
        **_nulls("allowed_payment_method_types", "application", "cancellation_reason", "customer_account", "description"),
        **_nulls("excluded_payment_method_types", "last_setup_error", "mandate", "next_action", "on_behalf_of"),
        **_nulls("payment_method_configuration_details", "single_use_mandate"),
        "automatic_payment_methods": {"allow_redirects": "never", "enabled": True},
        "livemode": True,
        "metadata": {},
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "status": "requires_payment_method",
        "usage": "off_session",
    },
    "shipping_rate": {**_nulls("delivery_estimate", "tax_code"), "active": True, "livemode": True, "metadata": {}}
    | {"tax_behavior": "unspecified", "type": "fixed_amount"},
    "subscription_schedule": {
        **_nulls("application", "canceled_at", "completed_at", "current_phase", "customer_account", "released_at"),
        **_nulls("released_subscription", "subscription", "test_clock"),
        "billing_mode": {"flexible": None, "type": "classic"},
        "default_settings": {
            **_nulls("application_fee_percent", "billing_thresholds", "collection_method", "default_payment_method"),
            **_nulls("description", "on_behalf_of", "transfer_data"),
            "billing_cycle_anchor": "automatic",
            "invoice_settings": {
                **_nulls("account_tax_ids", "custom_fields", "days_until_due", "description", "footer"),
                "issuer": {"type": "self"},
            },
        },
        "end_behavior": "release",
        "livemode": True,
        "metadata": {},
        "pause_schedules": [],
        "status": "not_started",
    },
    "tax.registration": {
        "country": "BR",
        "country_options": {"br": {"type": "simplified"}},
        "expires_at": None,
        "livemode": True,
        "status": "active",
    },
    "tax_code": {"requirements": None},
    "tax_rate": {
        **_nulls("description", "effective_percentage", "flat_amount", "jurisdiction_level", "state", "tax_type"),
        "active": True,
        "country": "BR",
        "jurisdiction": "BR",
        "livemode": True,
        "metadata": {},
        "rate_type": "percentage",
    },
    "topup": {
        **_nulls("balance_transaction", "failure_code", "failure_message", "initiated_by", "source"),
        **_nulls("statement_descriptor", "transfer_group"),
        "currency": "brl",
        "livemode": True,
        "metadata": {},
        "status": "pending",
    },
    "transfer": {
        **_nulls("balance_transaction", "source_transaction", "transfer_group"),
        "amount_reversed": 0,
        "currency": "brl",
        "livemode": True,
        "metadata": {},
        "reversed": False,
        "source_type": "card",
    },
    "transfer_reversal": {
        **_nulls("balance_transaction", "destination_payment_refund", "source_refund"),
        "currency": "brl",
        "metadata": {},
    },
    "usage_record_summary": {"invoice": None, "livemode": True},
    "webhook_endpoint": {
        **_nulls("api_version", "application", "description"),
        "enabled_events": ["*"],
        "livemode": True,
        "metadata": {},
        "status": "enabled",
    },
}


def money(value: int, currency: str) -> Object:
    return {"currency": currency, "value": value}


def record_amounts(value: int, currency: str) -> Object:
    """The amounts of a payment record that nothing has happened to yet."""
    return {
        **{name: money(0, currency) for name in _AMOUNTS},
        "amount": money(value, currency),
        "amount_requested": money(value, currency),
    }


def schedule_phase(**known: Any) -> Object:
    return {
        **_nulls("application_fee_percent", "billing_cycle_anchor", "billing_thresholds", "collection_method"),
        **_nulls("default_payment_method", "description", "invoice_settings", "on_behalf_of", "transfer_data", "trial_end"),
        "add_invoice_items": [],
        "default_tax_rates": [],
        "discounts": [],
        "metadata": {},
        "proration_behavior": "create_prorations",
        **known,
    }


def schedule_item(price: str, quantity: int) -> Object:
    return {
        "billing_thresholds": None,
        "discounts": [],
        "metadata": {},
        "plan": price,
        "price": price,
        "quantity": quantity,
        "tax_rates": [],
    }
