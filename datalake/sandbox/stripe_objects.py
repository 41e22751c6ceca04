"""The shape of Stripe's objects as API 2026-10-28.endive shows them; what happens to them lives in `stripe_business`.

Each function makes one whole object: what is given by name, and Stripe's usual value for every other field.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Object = dict[str, Any]

EMBEDDED = 10
"""Rows that a list inside an object holds; the rest is on the list's own path."""


def _nulls(*names: str) -> Object:
    return dict.fromkeys(names)


def listing(url: str, rows: Sequence[Object], *, has_more: bool = False) -> Object:
    return {"object": "list", "data": list(rows), "has_more": has_more, "url": url}


def embedded(url: str, rows: Sequence[Object]) -> Object:
    """A list inside an object: its first rows, and how many there are."""
    return {**listing(url, rows[:EMBEDDED], has_more=len(rows) > EMBEDDED), "total_count": len(rows)}


def address(**known: Any) -> Object:
    return {**_nulls("city", "country", "line1", "line2", "postal_code", "state"), **known}


def account(**known: Any) -> Object:
    return {
        "object": "account",
        "business_profile": {
            "mcc": "5734",
            "minority_owned_business_designation": None,
            "name": "Café & Código Ltda",
            "product_description": "Software por assinatura",
            "specified_commercial_transactions_act_url": None,
            "support_address": None,
            "support_email": "suporte@example.com",
            "support_phone": None,
            "support_url": None,
            "url": "https://cafe-codigo.example.com",
        },
        "business_type": "company",
        "capabilities": {"boleto_payments": "active", "card_payments": "active", "transfers": "active"},
        "charges_enabled": True,
        "controller": {"type": "account"},
        "country": "BR",
        "default_currency": "brl",
        "details_submitted": True,
        "email": "financeiro@example.com",
        "payouts_enabled": True,
        "settings": {
            "branding": _nulls("icon", "logo", "primary_color", "secondary_color"),
            "card_payments": {
                "statement_descriptor_prefix": "CAFECODIGO",
                "statement_descriptor_prefix_kana": None,
                "statement_descriptor_prefix_kanji": None,
            },
            "dashboard": {"display_name": "Café & Código", "timezone": "America/Sao_Paulo"},
            "payments": {
                "statement_descriptor": "CAFECODIGO",
                **_nulls("statement_descriptor_kana", "statement_descriptor_kanji"),
                **_nulls("statement_descriptor_prefix_kana", "statement_descriptor_prefix_kanji"),
            },
        },
        "type": "standard",
        **known,
    }


def customer(**known: Any) -> Object:
    return {
        "object": "customer",
        **_nulls("address", "currency", "default_source", "description", "discount", "email", "name", "phone", "shipping"),
        "balance": 0,
        "delinquent": False,
        "invoice_settings": _nulls("custom_fields", "default_payment_method", "footer", "rendering_options"),
        "metadata": {},
        "next_invoice_sequence": 1,
        "preferred_locales": [],
        "tax_exempt": "none",
        "test_clock": None,
        **known,
    }


def tax_id(**known: Any) -> Object:
    return {
        "object": "tax_id",
        "customer_account": None,
        "owner": None,
        "verification": {"status": "unavailable", "verified_address": None, "verified_name": None},
        **known,
    }


def product(**known: Any) -> Object:
    return {
        "object": "product",
        "active": True,
        **_nulls("default_price", "description", "package_dimensions", "shippable", "statement_descriptor", "tax_code"),
        **_nulls("tax_details", "unit_label", "url"),
        "images": [],
        "marketing_features": [],
        "metadata": {},
        "type": "service",
        **known,
    }


def price(**known: Any) -> Object:
    made = {
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        **_nulls(
            "custom_unit_amount", "lookup_key", "nickname", "recurring", "tiers_mode", "transform_quantity", "unit_amount"
        ),
        "metadata": {},
        "tax_behavior": "unspecified",
        "type": "recurring" if known.get("recurring") else "one_time",
        **known,
    }
    made.setdefault("unit_amount_decimal", None if made["unit_amount"] is None else str(made["unit_amount"]))
    return made


def recurring(interval: str) -> Object:
    return {"interval": interval, "interval_count": 1, "meter": None, "trial_period_days": None, "usage_type": "licensed"}


def plan(price_: Object) -> Object:
    """The price in its older form, which subscription items still carry beside it."""
    terms = price_["recurring"]
    return {
        "id": price_["id"],
        "object": "plan",
        "active": price_["active"],
        "amount": price_["unit_amount"],
        "amount_decimal": price_["unit_amount_decimal"],
        "billing_scheme": price_["billing_scheme"],
        "created": price_["created"],
        "currency": price_["currency"],
        "interval": terms["interval"],
        "interval_count": terms["interval_count"],
        "livemode": price_["livemode"],
        "metadata": {},
        "meter": None,
        "nickname": price_["nickname"],
        "product": price_["product"],
        "tiers_mode": price_["tiers_mode"],
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": terms["usage_type"],
    }


def coupon(**known: Any) -> Object:
    return {
        "object": "coupon",
        **_nulls("amount_off", "currency", "duration_in_months", "max_redemptions", "name", "percent_off", "redeem_by"),
        "duration": "once",
        "metadata": {},
        "times_redeemed": 0,
        "valid": True,
        **known,
    }


def promotion_code(**known: Any) -> Object:
    return {
        "object": "promotion_code",
        "active": True,
        **_nulls("customer", "customer_account", "expires_at", "max_redemptions"),
        "metadata": {},
        "restrictions": {"first_time_transaction": False, "minimum_amount": None, "minimum_amount_currency": None},
        "times_redeemed": 0,
        **known,
    }


def discount(**known: Any) -> Object:
    return {
        "object": "discount",
        **_nulls("checkout_session", "customer", "customer_account", "end", "invoice", "invoice_item", "promotion_code"),
        **_nulls("subscription", "subscription_item"),
        **known,
    }


def subscription(**known: Any) -> Object:
    return {
        "object": "subscription",
        **_nulls("application", "application_fee_percent", "billing_cycle_anchor_config", "billing_thresholds", "cancel_at"),
        **_nulls("canceled_at", "customer_account", "days_until_due", "default_payment_method", "default_source"),
        **_nulls("description", "ended_at", "latest_invoice", "next_pending_invoice_item_invoice", "on_behalf_of"),
        **_nulls("pause_collection", "pending_invoice_item_interval", "pending_setup_intent", "pending_update", "schedule"),
        **_nulls("test_clock", "transfer_data", "trial_end", "trial_start"),
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_mode": {"flexible": {"proration_discounts": "included"}, "type": "flexible"},
        "billing_schedules": [],
        "cancel_at_period_end": False,
        "cancellation_details": _nulls("comment", "feedback", "feedback_option", "reason"),
        "collection_method": "charge_automatically",
        "default_tax_rates": [],
        "discounts": [],
        "invoice_settings": {
            **_nulls("account_tax_ids", "custom_fields", "description", "footer"),
            "issuer": {"type": "self"},
        },
        "managed_payments": {"enabled": False},
        "metadata": {},
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        "status": "active",
        "trial_settings": {"end_behavior": {"billing_cycle_anchor": None, "missing_payment_method": "create_invoice"}},
        **known,
    }


def subscription_item(**known: Any) -> Object:
    return {
        "object": "subscription_item",
        "billing_thresholds": None,
        "current_trial": None,
        "discounts": [],
        "metadata": {},
        "quantity": 1,
        "tax_rates": [],
        **known,
    }


def invoice_item(**known: Any) -> Object:
    return {
        "object": "invoiceitem",
        **_nulls("customer_account", "description", "invoice", "parent", "pricing", "test_clock"),
        "discountable": True,
        "discounts": [],
        "metadata": {},
        "net_amount": known["amount"],
        "proration": False,
        "quantity": 1,
        "quantity_decimal": "1",
        "tax_rates": [],
        **known,
    }


def pricing(price_: Object) -> Object:
    return {
        "price_details": {"price": price_["id"], "product": price_["product"]},
        "type": "price_details",
        "unit_amount_decimal": price_["unit_amount_decimal"],
    }


def line_item(**known: Any) -> Object:
    return {
        "object": "line_item",
        **_nulls("description", "parent", "pricing", "subscription"),
        "discount_amounts": [],
        "discountable": True,
        "discounts": [],
        "metadata": {},
        "pretax_credit_amounts": [],
        "quantity": 1,
        "quantity_decimal": str(known.get("quantity", 1)),
        "subtotal": known["amount"],
        "taxes": [],
        **known,
    }


def invoice(**known: Any) -> Object:
    return {
        "object": "invoice",
        "account_country": "BR",
        "account_name": "Café & Código",
        **_nulls("account_tax_ids", "application", "automatically_finalizes_at", "billing_reason", "custom_fields"),
        **_nulls("customer_account", "customer_address", "customer_email", "customer_name", "customer_phone"),
        **_nulls("customer_shipping", "default_payment_method", "default_source", "description", "due_date", "effective_at"),
        **_nulls("ending_balance", "footer", "from_invoice", "hosted_invoice_url", "invoice_pdf", "last_finalization_error"),
        **_nulls("latest_revision", "next_payment_attempt", "number", "on_behalf_of", "parent", "receipt_number", "rendering"),
        **_nulls("shipping_cost", "shipping_details", "statement_descriptor", "test_clock", "webhooks_delivered_at"),
        "amount_due": 0,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_remaining": 0,
        "amount_shipping": 0,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": True,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None, "provider": None, "status": None},
        "collection_method": "charge_automatically",
        "customer_tax_exempt": "none",
        "customer_tax_ids": [],
        "default_tax_rates": [],
        "discounts": [],
        "issuer": {"type": "self"},
        "metadata": {},
        "payment_settings": {"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "starting_balance": 0,
        "status": "draft",
        "status_transitions": _nulls("finalized_at", "marked_uncollectible_at", "paid_at", "voided_at"),
        "total_discount_amounts": [],
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
        **known,
    }


def invoice_payment(**known: Any) -> Object:
    return {
        "object": "invoice_payment",
        "amount_paid": None,
        "is_default": True,
        "status": "open",
        "status_transitions": {"canceled_at": None, "paid_at": None},
        **known,
    }


def payment_intent(**known: Any) -> Object:
    return {
        "object": "payment_intent",
        **_nulls("allowed_payment_method_types", "application", "application_fee_amount", "canceled_at"),
        **_nulls("cancellation_reason", "customer_account", "description", "excluded_payment_method_types"),
        **_nulls("last_payment_error", "latest_charge", "managed_payments", "next_action", "on_behalf_of"),
        **_nulls("payment_method_configuration_details", "payment_record", "processing", "receipt_email", "review"),
        **_nulls("setup_future_usage", "shipping", "source", "statement_descriptor", "statement_descriptor_suffix"),
        **_nulls("transfer_data", "transfer_group"),
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "automatic_payment_methods": {"enabled": True},
        "capture_method": "automatic",
        "confirmation_method": "automatic",
        "metadata": {},
        "payment_method_options": {},
        "status": "requires_payment_method",
        **known,
    }


def charge(**known: Any) -> Object:
    return {
        "object": "charge",
        "amount_captured": 0,
        "amount_refunded": 0,
        **_nulls("application", "application_fee", "application_fee_amount", "balance_transaction", "customer"),
        **_nulls("description", "failure_balance_transaction", "failure_code", "failure_message", "on_behalf_of"),
        **_nulls("receipt_email", "receipt_number", "receipt_url", "review", "shipping", "source", "source_transfer"),
        **_nulls("statement_descriptor", "statement_descriptor_suffix", "transfer_data", "transfer_group"),
        "calculated_statement_descriptor": "CAFECODIGO",
        "captured": False,
        "disputed": False,
        "fraud_details": {},
        "metadata": {},
        "paid": False,
        "radar_options": {},
        "refunded": False,
        **known,
    }


def outcome(*, paid: bool, risk_score: int) -> Object:
    return {
        "advice_code": None if paid else "try_again_later",
        "network_advice_code": None,
        "network_decline_code": None if paid else "51",
        "network_status": "approved_by_network" if paid else "declined_by_network",
        "reason": None if paid else "insufficient_funds",
        "risk_level": "normal",
        "risk_score": risk_score,
        "seller_message": "Payment complete." if paid else "The bank returned the decline code `insufficient_funds`.",
        "type": "authorized" if paid else "issuer_declined",
    }


def card(*, brand: str, last4: str, country: str, amount: int) -> Object:
    details = {
        "amount_authorized": amount,
        "authorization_code": "123456",
        "brand": brand,
        "checks": {"address_line1_check": None, "address_postal_code_check": "pass", "cvc_check": "pass"},
        "country": country,
        "exp_month": 12,
        "exp_year": 2031,
        "fingerprint": f"Xt5EWLLDS7FJ{last4}",
        "funding": "credit",
        "last4": last4,
        "network": brand,
        "regulated_status": "unregulated",
        **_nulls("electronic_commerce_indicator", "installments", "mandate", "network_transaction_id", "three_d_secure"),
        **_nulls("transaction_link_id", "wallet"),
    }
    return {"card": details, "type": "card"}


def refund(**known: Any) -> Object:
    return {
        "object": "refund",
        **_nulls("balance_transaction", "customer_account", "payment_method", "reason", "receipt_number"),
        **_nulls("source_transfer_reversal", "transfer_reversal"),
        "metadata": {},
        "status": "succeeded",
        **known,
    }


def dispute(**known: Any) -> Object:
    return {
        "object": "dispute",
        "balance_transactions": [],
        "enhanced_eligibility_types": [],
        "evidence": {
            **_nulls("access_activity_log", "billing_address", "cancellation_policy", "cancellation_policy_disclosure"),
            **_nulls("cancellation_rebuttal", "customer_communication", "customer_email_address", "customer_name"),
            **_nulls("customer_purchase_ip", "customer_signature", "duplicate_charge_documentation"),
            **_nulls("duplicate_charge_explanation", "duplicate_charge_id", "product_description", "receipt"),
            **_nulls("refund_policy", "refund_policy_disclosure", "refund_refusal_explanation", "service_date"),
            **_nulls("service_documentation", "shipping_address", "shipping_carrier", "shipping_date"),
            **_nulls("shipping_documentation", "shipping_tracking_number", "uncategorized_file", "uncategorized_text"),
            "enhanced_evidence": {},
        },
        "intended_submission_method": None,
        "is_charge_refundable": False,
        "metadata": {},
        "network_reason_code": "10.4",
        **known,
    }


def payout(**known: Any) -> Object:
    return {
        "object": "payout",
        **_nulls("application_fee", "application_fee_amount", "description", "failure_balance_transaction", "failure_code"),
        **_nulls("failure_message", "original_payout", "payout_method", "reversed_by", "statement_descriptor", "trace_id"),
        "metadata": {},
        "source_type": "card",
        "status": "pending",
        "type": "bank_account",
        **known,
    }


def balance_transaction(**known: Any) -> Object:
    return {
        "object": "balance_transaction",
        "balance_type": "payments",
        "description": None,
        "exchange_rate": None,
        **known,
        "fee": sum(fee["amount"] for fee in known["fee_details"]),
        "net": known["amount"] - sum(fee["amount"] for fee in known["fee_details"]),
    }


def fee(amount: int, currency: str, kind: str, description: str) -> Object:
    return {"amount": amount, "application": None, "currency": currency, "description": description, "type": kind}


def credit_note(**known: Any) -> Object:
    return {
        "object": "credit_note",
        "amount_shipping": 0,
        **_nulls("customer_account", "customer_balance_transaction", "effective_at", "memo", "out_of_band_amount", "reason"),
        **_nulls("shipping_cost", "voided_at"),
        "discount_amount": 0,
        "discount_amounts": [],
        "metadata": {},
        "post_payment_amount": 0,
        "pre_payment_amount": 0,
        "pretax_credit_amounts": [],
        "refunds": [],
        "status": "issued",
        "total_taxes": [],
        **known,
    }


def credit_note_line(**known: Any) -> Object:
    return {
        "object": "credit_note_line_item",
        "description": None,
        "discount_amount": 0,
        "discount_amounts": [],
        "metadata": {},
        "pretax_credit_amounts": [],
        "quantity": 1,
        "tax_rates": [],
        "taxes": [],
        "type": "invoice_line_item",
        **known,
    }
