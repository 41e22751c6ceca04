"""The shapes of the stand-in Conta Azul's records: what one person, sale, instalment or invoice looks like when asked for.

What happens in the company, and when, lives in `conta_azul_business`; the narrow shapes follow the official description, the
broad ones are filled from the contracts.
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from datalake import contracts
from datalake.model import Column
from datalake.sandbox.fill import CITIES, Filler, cnpj, company, cpf, person

Record = dict[str, Any]

ZONE = dt.timezone(dt.timedelta(hours=-3))
DAY = 86_400
SOURCE = contracts.load_source("conta_azul")

PAYMENTS = ("BOLETO_BANCARIO", "PIX_PAGAMENTO_INSTANTANEO", "CARTAO_CREDITO", "TRANSFERENCIA_BANCARIA", "DINHEIRO")
BANKS = (
    ("ITAU", 341, "CONTA_CORRENTE"),
    ("NUBANK", 260, "CONTA_CORRENTE"),
    ("NAO_BANCO", 0, "CAIXINHA"),
    ("STONE", 197, "OUTROS"),
)
OPERATIONS = (
    "FRETES_RECEBIDOS",
    "FRETES_PAGOS",
    "DESCONTOS_FINANCEIROS_CONCEDIDOS",
    "MULTAS_RECEBIDAS",
    "JUROS_RECEBIDOS",
    "TARIFAS",
    "PERDAS",
)
OPEN = "PENDENTE"


def local(seconds: int) -> str:
    """A moment as Conta Azul writes it: in GMT-3, without saying so."""
    return f"{dt.datetime.fromtimestamp(seconds, ZONE):%Y-%m-%dT%H:%M:%S}.{seconds % 1000:03d}"


def day(seconds: int) -> str:
    return f"{dt.datetime.fromtimestamp(seconds, ZONE):%Y-%m-%d}"


def seconds_of(text: str) -> int:
    """The moment (or the midnight) that a naive text means in GMT-3."""
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp())


def reais(cents: int) -> float:
    """Money as JSON carries it."""
    return cents / 100


def _moment(column: Column, seconds: int) -> str:
    return day(seconds) if column.type.kind == "date" else local(seconds)


def without_nulls(value: Any) -> Any:
    """The value without members that are null: where the official description knows no null, they are left out."""
    if isinstance(value, dict):
        return {name: without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


class Shapes:
    """Makes records. `number` numbers the things of a kind; ids follow from it."""

    def __init__(self, seed: int, now: int) -> None:
        self._seed = seed
        self._filler = Filler(SOURCE, seed, now, _moment)

    def id(self, kind: str, *number: object) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self._seed}/{kind}/{number}"))

    def filled(self, table: str, number: int, **known: Any) -> Record:
        return self._filler.record(SOURCE.tables[table], number, **known)

    # People, products, services

    def person(self, number: int, at: int) -> tuple[Record, Record]:
        """A person as listed and in full. Every third is a company."""
        legal = number % 3 == 0
        someone = company(number) if legal else person(number)
        city, state = CITIES[number % len(CITIES)]
        address = {
            "id": self.id("address", number),
            "id_cidade": 1000 + number,
            "logradouro": f"Rua {number}",
            "numero": str(number),
            "complemento": None,
            "bairro": "Centro",
            "cidade": city,
            "estado": state,
            "cep": f"{number:05d}-000",
            "pais": "Brasil",
        }
        common = {
            "id": self.id("person", number),
            "nome": someone.name,
            "tipo_pessoa": "Jurídica" if legal else "Física",
            "documento": cnpj(number) if legal else cpf(number),
            "email": someone.email,
            "ativo": True,
            "data_alteracao": local(at),
        }
        roles = ["Cliente", "Fornecedor"] if number % 4 == 0 else ["Cliente"]
        listed = self.filled(
            "pessoas", number, **common, perfis=roles, endereco=address, data_criacao=local(at), id_legado=number
        )
        full = self.filled(
            "pessoas_detalhe",
            number,
            **common,
            rg=None if legal else f"{number:09d}",
            data_nascimento="" if legal else "1990-05-17",
            criado_em=local(at),
            enderecos=[address],
            inscricoes=[
                {
                    "id": self.id("registration", number),
                    "indicador_inscricao_estadual": "NAO_CONTRIBUINTE",
                    "inscricao_estadual": f"{number:012d}",
                    "inscricao_municipal": None,
                    "inscricao_suframa": None,
                }
            ],
            outros_contatos=[self._contact(number, place) for place in range(number % 3)],
            perfis=[{"id": self.id("role", number, role), "tipo_perfil": role} for role in roles],
        )
        return listed, full

    def _contact(self, number: int, place: int) -> Record:
        someone = person(1000 + 10 * number + place)
        return {
            "id": self.id("contact", number, place),
            "nome": someone.name,
            "cargo": "Compras",
            "email": someone.email,
            "telefone_celular": someone.phone,
            "telefone_comercial": None,
        }

    def product(self, number: int, at: int, price: int, parts: list[Record]) -> tuple[Record, Record]:
        """A product as listed and in full. `parts` are other products, as listed, of which it is a kit."""
        id_ = self.id("product", number)
        variations = [
            self.filled(
                "produto_variacoes", 10 * number + place, id=self.id("variation", number, place), valor_venda=reais(price)
            )
            for place in range(2 * (number % 4 == 1))
        ]
        kit = [
            {
                "codigo": part["codigo"],
                "costCenterId": None,
                "id_item": self.id("part", number, place),
                "id_produto": part["id"],
                "nome": part["nome"],
                "quantidade": 2,
                "valor_total": 2 * part["valor_venda"],
                "valor_unitario": part["valor_venda"],
                "versao": 1,
            }
            for place, part in enumerate(parts)
        ]
        common = {
            "id": id_,
            "nome": f"Produto {number}",
            "status": "ATIVO",
            "id_legado": number,
            "ultima_atualizacao": local(at),
        }
        listed = self.filled(
            "produtos",
            number,
            **common,
            codigo=f"P{number:04d}",
            valor_venda=reais(price),
            saldo=float(number % 50),
            produtos_variacao=variations,
        )
        full = self.filled(
            "produtos_detalhe",
            number,
            **common,
            codigo_sku=f"P{number:04d}",
            ativo=True,
            detalhe_kit={"items": kit} if kit else None,
            versao=1,
            categoria={"descricao": "Geral", "id": 1 + number % 5, "uuid": self.id("category", number % 5)},
            unidade_medida={"descricao": "Unidade", "id": 1 + number % 3},
        )
        return listed, full

    def service(self, number: int, at: int, price: int) -> Record:
        scenario = {
            "id": self.id("scenario", number),
            "inss_aliquota": 11.0,
            "iss_aliquota": 2.5,
            "iss_retido": number % 2 == 0,
            "municipio": {"codigo": 3550308, "nome": "São Paulo", "uf": "SP"},
            "nome_usuario": person(900).name,
            "ultima_atualizacao": local(at),
        }
        return self.filled(
            "servicos",
            number,
            id=self.id("service", number),
            id_servico=number,
            descricao=f"Serviço {number}",
            preco=reais(price),
            custo=12.3456,
            status="ATIVO",
            lista_cenario_tributario=[scenario],
        )

    # Set-up

    def account(self, number: int) -> Record:
        bank, code, kind = BANKS[number % len(BANKS)]
        return {
            "id": self.id("account", number),
            "banco": bank,
            "codigo_banco": code,
            "nome": f"Conta {number}",
            "ativo": True,
            "tipo": kind,
            "conta_padrao": number == 0,
            "possui_config_boleto_bancario": number == 0,
            "agencia": f"{number:04d}",
            "numero": f"{number * 7919:07d}",
        }

    def category(self, number: int) -> Record:
        """Every fifth category holds the four after it."""
        income = number < 10
        return {
            "id": self.id("category", number),
            "versao": 0,
            "nome": f"Categoria {number}",
            "categoria_pai": None if number % 5 == 0 else self.id("category", number - number % 5),
            "tipo": "RECEITA" if income else "DESPESA",
            "entrada_dre": "RECEITAS" if income else "DESPESAS_ADMINISTRATIVAS",
            "considera_custo_dre": not income,
        }

    def statement(self, categories: list[Record]) -> list[Record]:
        """The tree of the income statement: lines, each with lines below it and the categories that go into it."""

        def line(number: str, below: list[Record], held: list[Record]) -> Record:
            return {
                "id": self.id("line", number),
                "descricao": f"Linha {number}",
                "codigo": number,
                "posicao": int(number[-1]),
                "indica_totalizador": bool(below),
                "representa_soma_custo_medio": False,
                "subitens": below,
                "categorias_financeiras": [
                    {"id": each["id"], "codigo": number, "nome": each["nome"], "ativo": True} for each in held
                ],
            }

        return [
            line(
                str(top),
                [
                    line(f"{top}.1", [line(f"{top}.1.1", [], categories[top::6])], []),
                    line(f"{top}.2", [], categories[top + 3 :: 6]),
                ],
                [],
            )
            for top in range(1, 3)
        ]

    def contract(
        self, number: int, at: int, customer: Record, account: Record, seller: Record, total: int
    ) -> tuple[Record, Record]:
        who = {"id": customer["id"], "nome": customer["nome"]}
        end = day(at + 365 * DAY)
        common = {"id": self.id("contract", number), "status": "ATIVO", "cliente": who}
        listed = {
            **common,
            "conta_financeira": {"id": account["id"], "tipo": account["tipo"]},
            "data_inicio": day(at),
            "numero": number,
            "proximo_vencimento": day(at + 30 * DAY),
            "termos": {"data_fim": end, "tipo_expiracao": "VEZES", "vigencia_atual": 1, "vigencia_total": 12},
            "tipo_pagamento": "BOLETO_BANCARIO",
            "total": reais(12 * total),
            "total_proximo_vencimento": reais(total),
        }
        full = {
            **common,
            "composicao_valor": {
                "desconto": 0,
                "frete": 0,
                "valor_bruto": reais(total),
                "valor_impostos_servico": 0,
                "valor_liquido": reais(total),
            },
            "condicao_pagamento": {
                "dia_vencimento": 10,
                "nome_conta_financeira": account["nome"],
                "observacoes_pagamento": "",
                "tipo_pagamento": "BOLETO_BANCARIO",
            },
            "configuracao_recorrencia": {"vigencia_restante": 11, "vigencia_total": 12},
            "data_proxima_emissao": day(at + 25 * DAY),
            "data_proximo_vencimento": day(at + 30 * DAY),
            "data_ultima_emissao": day(at),
            "local_prestacao_servico": {"nome": "Matriz"},
            "observacoes": f"Contrato {number}",
            "termos": {
                "data_fim": end,
                "data_inicio": day(at),
                "dia_emissao_venda": 5,
                "intervalo_frequencia": 1,
                "numero": number,
                "tipo_expiracao": "DATA",
                "tipo_frequencia": "MENSAL",
            },
            "vendedor": {"id": seller["id"], "nome": seller["nome"]},
        }
        return listed, full

    # Sales and quotes

    def items(self, owner: str, goods: list[tuple[Record, int]]) -> list[Record]:
        """Lines of a sale: what was sold and how much of it, in hundredths."""
        return [
            {
                "id": self.id("item", owner, place),
                "id_item": good["id"],
                "nome": good.get("nome", good.get("descricao")),
                "descricao": f"Item {place}",
                "tipo": "PRODUTO" if "valor_venda" in good else "SERVICO",
                "quantidade": amount / 100,
                "valor": good.get("valor_venda", good.get("preco")),
                "custo": 1.2345,
            }
            for place, (good, amount) in enumerate(goods)
        ]

    def sale(
        self,
        number: int,
        at: int,
        customer: Record,
        seller: Record,
        account: Record,
        event: Record,
        total: int,
        contract: str | None,
    ) -> tuple[Record, Record]:
        """A sale as listed and in full. `event` is the financial event that it makes."""
        id_ = self.id("sale", number)
        listed = {
            "id": id_,
            "total": reais(total),
            "id_legado": number,
            "data": day(at),
            "criado_em": local(at),
            "data_alteracao": local(at),
            "tipo": "VENDA",
            "itens": "PRODUTO",
            "condicao_pagamento": True,
            "numero": number,
            "cliente": {
                "id": customer["id"],
                "nome": customer["nome"],
                "email": customer["email"],
                "endereco": "Rua 1",
                "pais": "Brasil",
            },
            "situacao": {"nome": "APROVADO", "descricao": "Aprovado"},
            "versao": 1,
            "status_email": {"status": "ENVIADO", "enviado_em": day(at)},
            "id_contrato": contract,
            "origem": "MANUAL",
        }
        plan = [
            {
                "id": self.id("plan", number, part["indice"]),
                "numero": part["indice"],
                "data_vencimento": part["data_vencimento"],
                "valor": part["valor_composicao"]["valor_bruto"],
                "descricao": f"Parcela {part['indice']}",
            }
            for part in event["parcelas"]
        ]
        full = {
            "cliente": {
                "uuid": customer["id"],
                "tipo_pessoa": customer["tipo_pessoa"],
                "documento": customer["documento"],
                "nome": customer["nome"],
            },
            "evento_financeiro": {"id": event["id"]},
            "notificacao": {
                "id_referencia": id_,
                "enviado_para": customer["email"],
                "enviado_em": local(at),
                "status": "ENVIADO",
            },
            "natureza_operacao": {
                "uuid": self.id("nature", 0),
                "tipo_operacao": "VENDA",
                "template_operacao": "VENDA_MERCADORIAS",
                "label": "Venda",
                "mudanca_financeira": True,
                "mudanca_estoque": "SAIDA_ESTOQUE",
            },
            "venda": {
                "id": id_,
                "status": "EM_ANDAMENTO",
                "id_legado": number,
                "tipo_negociacao": "VENDA",
                "numero": number,
                "data_compromisso": day(at),
                "configuracao_de_desconto": {"tipo_desconto": "VALOR", "taxa_desconto": 0},
                "composicao_valor": {"valor_bruto": reais(total), "desconto": 0, "frete": 0, "valor_liquido": reais(total)},
                "condicao_pagamento": {
                    "tipo_pagamento": "BOLETO_BANCARIO",
                    "id_conta_financeira": account["id"],
                    "pagamento_a_vista": len(plan) == 1,
                    "parcelas": plan,
                    "opcao_condicao_pagamento": f"{len(plan)}x",
                },
                "observacoes": "",
                "id_cliente": customer["id"],
                "versao": 1,
                "situacao": {"nome": "APROVADO", "descricao": "Aprovado", "ativado": True},
                "origem": "MANUAL",
            },
            "vendedor": {"id": seller["id"], "nome": seller["nome"], "id_legado": seller["id_legado"]},
        }
        return without_nulls(listed), full

    def quote(
        self, number: int, at: int, customer: Record, seller: Record, goods: list[tuple[Record, int]]
    ) -> tuple[Record, Record]:
        id_ = self.id("quote", number)
        lines = [
            {
                "custo": 1.5,
                "descricao": item["descricao"],
                "id": item["id_item"],
                "nome": item["nome"],
                "quantidade": item["quantidade"],
                "tipo": item["tipo"],
                "valor": item["valor"],
            }
            for item in self.items(id_, goods)
        ]
        total = round(sum(line["quantidade"] * line["valor"] for line in lines), 2)
        common = {"id": id_, "numero": number, "data_orcamento": day(at), "situacao": "ORCAMENTO", "versao": 1}
        listed = {
            **common,
            "cliente": {"email": customer["email"], "id": customer["id"], "nome": customer["nome"]},
            "data_alteracao": local(at),
            "data_criacao": local(at),
            "itens": "PRODUTO_E_SERVICO",
            "origem": "WEB",
            "total": total,
        }
        full = {
            **common,
            "composicao_de_valor": {"desconto": {"tipo": "VALOR", "valor": 0}, "frete": 5.5},
            "data_validade": day(at + 15 * DAY),
            "descricao": f"Orçamento {number}",
            "id_cliente": customer["id"],
            "id_vendedor": seller["id"],
            "itens": lines,
            "observacoes": "Entrega grátis",
            "observacoes_pagamento": "À vista",
            "previsao_entrega": "10 dias",
        }
        return listed, full

    # Financial events

    def event(
        self,
        number: int,
        at: int,
        *,
        income: bool,
        origin: str,
        who: Record,
        account: Record,
        cents: int,
        parts: int,
        category: Record,
        centre: Record,
    ) -> Record:
        """An event: `evento` as every instalment carries it, its `parcelas`, and who is behind it. Underscored: not served."""
        id_ = self.id("event", number)
        halves = (cents - cents // 3, cents // 3)
        event = {
            "data_competencia": day(at),
            "id": id_,
            "condicao_pagamento": {"quantidade_parcelas": parts, "montante_fixo": False},
            "referencia": {"id": self.id("origin", number), "revisao": "1", "origem": origin},
            "agendado": False,
            "tipo": "RECEITA" if income else "DESPESA",
            "codigo_referencia": f"E{number}",
            "rateio": [
                {
                    "id_categoria": category["id"],
                    "nome_categoria": category["nome"],
                    "valor": reais(half),
                    "valor_bruto": reais(half),
                    "rateio_centro_custo": [
                        {"id_centro_custo": centre["id"], "nome_centro_custo": centre["nome"], "valor": reais(half)}
                    ]
                    if number % 2
                    else [],
                }
                for half in halves
            ],
        }
        each = cents // parts
        values = [cents - each * (parts - 1), *([each] * (parts - 1))]
        parcels = [self._parcel(event, number, place + 1, at, who, account, value) for place, value in enumerate(values)]
        return {
            "id": id_,
            "evento": event,
            "parcelas": parcels,
            "_who": who,
            "_at": at,
            "_category": category,
            "_centre": centre,
        }

    def _parcel(self, event: Record, number: int, place: int, at: int, who: Record, account: Record, cents: int) -> Record:
        id_ = self.id("parcel", number, place)
        due = day(at + 30 * DAY * place - 25 * DAY)
        values = self.values(cents)
        files = [
            {
                "id": self.id("file", number, place),
                "versao": 0,
                "descricao": "Recibo",
                "nome": f"recibo-{number}.pdf",
                "url": f"https://files.example.com/{id_}?signature=sandbox",
                "tipo_conteudo": "FILE",
                "referencia": id_,
                "tipo_anexo": "RECIBO",
                "id_parcela": id_,
            }
        ]
        charges = [
            {
                "id": self.id("charge", number, place),
                "versao": 0,
                "status_solicitacao_cobranca": "REGISTRADO",
                "valor_composicao": values,
                "data_vencimento": due,
                "data_quitacao": "",
                "tipo_solicitacao_cobranca": "BOLETO_REGISTRADO",
                "id_cliente": who["id"],
                "id_referencia": id_,
                "url": f"https://boleto.example.com/{id_}",
                "conta_financeira": account,
                "descricao": f"Cobrança {number}",
                "recuperado": False,
                "combinado": False,
            }
        ]
        return {
            "evento": event,
            "id": id_,
            "versao": 1,
            "referencia": f"{number}/{place}",
            "indice": place,
            "conciliado": False,
            "status": OPEN,
            "valor_pago": 0,
            "nao_pago": reais(cents),
            "data_vencimento": due,
            "data_pagamento_previsto": due,
            "descricao": f"Lançamento {number}",
            "nota": "",
            "conta_financeira": account,
            "id_conta_financeira": account["id"],
            "valor_composicao": values,
            "metodo_pagamento": PAYMENTS[number % len(PAYMENTS)],
            "baixa_agendada": False,
            "baixas": [],
            "anexos": files if number % 3 == 0 else [],
            "solicitacoes_cobrancas": charges if event["tipo"] == "RECEITA" and number % 2 == 0 else [],
            "fatura": {"numero": number, "rps": number, "tipo_fatura": "NFE"},
            "data_alteracao": local(at),
            "valor_total_liquido": reais(cents),
        }

    def payment(self, number: int, at: int, parcel: Record, event: Record, cents: int) -> Record:
        return {
            "id": self.id("payment", number),
            "versao": 0,
            "data_pagamento": day(at),
            "valor_composicao": self.values(cents),
            "conta_financeira": parcel["conta_financeira"],
            "id_parcela": parcel["id"],
            "observacao": f"Baixa {number}",
            "metodo_pagamento": parcel["metodo_pagamento"],
            "origem": "LANCAMENTO_FINANCEIRO",
            "tipo_evento_financeiro": event["evento"]["tipo"],
            "atualizado_em": local(at),
            "anexos": [],
        }

    @staticmethod
    def values(cents: int) -> Record:
        money = reais(cents)
        return {"multa": 0, "juros": 0, "valor_bruto": money, "desconto": 0, "taxa": 0, "valor_liquido": money}

    # Invoices, transfers

    def product_invoice(self, number: int, at: int, customer: Record) -> Record:
        moment = dt.datetime.fromtimestamp(at, ZONE)
        key = f"35{moment:%y%m}{cnpj(7)}55001{number:09d}1{number * 7919 % 10**8:08d}"
        return {
            "chave_acesso": f"{key}{number % 10}",
            "data_emissao": local(at),
            "nome_destinatario": customer["nome"],
            "numero_nota": number,
            "status": "EMITIDA",
        }

    def service_invoice(self, number: int, at: int, customer: Record, sale: str | None, cents: int) -> Record:
        return self.filled(
            "notas_fiscais_servico",
            number,
            id=self.id("invoice", number),
            id_venda=sale,
            id_contrato=None,
            numero_venda=str(number),
            numero_rps=number,
            numero_nfse=number,
            status="EMITIDA",
            valor_total_nfse=reais(cents),
            data_competencia=day(at),
            nome_cliente=customer["nome"],
            documento_cliente=customer["documento"],
            informacoes_cancelamento=None,
        )

    def transfer(self, number: int, at: int, origin: Record, target: Record, cents: int) -> Record:
        def side(account: Record) -> Record:
            return {
                "data": day(at),
                "composicao_valor": self.values(cents),
                "conta_financeira": {
                    "id": account["id"],
                    "nome": account["nome"],
                    "instituicao_bancaria": {"codigo": account["codigo_banco"], "nome": account["banco"]},
                },
            }

        return {
            "id": self.id("transfer", number),
            "descricao": f"Transferência {number}",
            "valor": reais(cents),
            "data": day(at),
            "origem": side(origin),
            "destino": side(target),
        }


def listed_instalment(event: Record, parcel: Record, today: str) -> Record:
    """An instalment as the lists of receivables and payables show it. Overdue is told by the calendar alone."""
    status = shown_status(parcel, today)
    code, words = {
        "QUITADO": ("ACQUITTED", "RECEBIDO"),
        "RECEBIDO_PARCIAL": ("PARTIAL", "RECEBIDO_PARCIAL"),
        "PERDIDO": ("LOST", "PERDIDO"),
        "RENEGOCIADO": ("RENEGOTIATED", "RENEGOCIADO"),
        "ATRASADO": ("OVERDUE", "ATRASADO"),
    }.get(status, ("PENDING", "EM_ABERTO"))
    who = {"id": event["_who"]["id"], "nome": event["_who"]["nome"]}
    category, centre = event["_category"], event["_centre"]
    return {
        "id": parcel["id"],
        "descricao": parcel["descricao"],
        "data_vencimento": parcel["data_vencimento"],
        "status": code,
        "status_traduzido": words,
        "total": parcel["valor_total_liquido"],
        "nao_pago": parcel["nao_pago"],
        "pago": parcel["valor_pago"],
        "data_criacao": local(event["_at"]),
        "data_alteracao": parcel["data_alteracao"],
        "data_competencia": event["evento"]["data_competencia"],
        "categorias": [{"id": category["id"], "nome": category["nome"]}],
        "centros_custo": [{"id": centre["id"], "nome": centre["nome"]}],
        "cliente" if event["evento"]["tipo"] == "RECEITA" else "fornecedor": who,
    }


def shown_instalment(parcel: Record, today: str) -> Record:
    return {**parcel, "status": shown_status(parcel, today)}


def shown_status(parcel: Record, today: str) -> str:
    overdue = parcel["status"] == OPEN and parcel["data_vencimento"] < today
    return "ATRASADO" if overdue else parcel["status"]
