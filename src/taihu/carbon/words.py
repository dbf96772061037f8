"""What reports say, in English and in Chinese.

A phrase is its English text, with `{}` for what stands in it; a phrase that has no Chinese stays as it is. Data (names,
numbers, sources of factors) are nobody's language.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from taihu.carbon.avoided_document import AVOIDED_METHOD
from taihu.carbon.document import Cell, Document, Link, Phrase, Section, Table
from taihu.carbon.words_of_rows import CHINESE

Language = Literal["en", "zh"]
METHOD = """\
Scope 1: energy by lower heating value times the factor of each gas, in CO2 equivalent by the global warming potentials
among the factors; leaks by what was filled up. Scope 2, by the GHG Protocol Scope 2 Guidance: location-based by the
hour's average intensity of the grid where it is known, else by the factor of the year; market-based by certificates
cancelled for the same interval, then the supplier's factor, the residual mix, or the grid's average. The two answer
different questions and are never added. Marginal intensities are in no inventory. What was given to the grid earns no
credit. An interval known for at least half of its length is scaled up and marked estimated; below that it is missing,
which is not zero. What a register rose in a gap is shared out evenly over the gap, and estimated. A factor of another
year or a wider region makes an estimate. Every figure leads to the rows that it is made of, as the ledger knew them."""
UNITS = """\
kg of CO2 equivalent. A dash is missing or not reported, not zero. Estimated kWh are those of intervals that were not
metered in full: what a register rose in a gap, and what was scaled up."""
HOURLY_METHOD = """\
An hour's load counts as matched up to what was made and kept in that hour, and what certificates of the same hour and
grid cover. In sum: all that was made against all of the load, whatever the hour, as an annual claim has it. By the
hour: each hour's own. With the grid: the rest counts by the carbon-free share that the grid says of that hour (24/7
CFE). A battery's charging counts as load, its discharging takes from it. Hours in which a part is missing take no
part. Every figure leads to the hours and rows that it is made of, as the ledger knew them."""


def said_in(language: Language, document: Document) -> Document:
    """A document in that language."""
    if language == "en":
        return document
    return Document(
        title=_say(document.title),
        lead=_say(document.lead),
        figures=tuple((_say(what), _cell(much)) for what, much in document.figures),
        sections=tuple(_section(one) for one in document.sections),
        links=tuple(_link(one) for one in document.links),
        language=language,
    )


def _section(one: Section) -> Section:
    bars = one.bars and msgspec.structs.replace(one.bars, words=_say(one.bars.words))
    table = one.table and msgspec.structs.replace(
        one.table, heads=tuple(map(_say, one.table.heads)), rows=_rows(one.table)
    )
    return Section(heading=_say(one.heading), note=_say(one.note), bars=bars, table=table)


def _rows(table: Table) -> Sequence[tuple[Cell, ...]]:
    return [tuple(map(_cell, row)) for row in table.rows]


def _cell(cell: Cell) -> Cell:
    return _link(cell) if isinstance(cell, Link) else _say(cell)


def _link(link: Link) -> Link:
    return Link(_say(link.text), link.address)


def _say(text: str) -> str:
    if not isinstance(text, Phrase):
        return _CHINESE.get(text, text)
    values = (_cell(value) if isinstance(value, str | Link) else value for value in text.values)
    return Phrase(_CHINESE.get(text.template, text.template), *values)


_CHINESE = CHINESE | {
    # of both reports
    "{} to {} ({}), made {}.{}": "{} 至 {}（{}），编制于 {}。{}",
    " As the ledger knew it at {}.": "按账本在 {} 的记录。",
    "Measured": "实测",
    "Estimated": "估算",
    "Missing": "缺失",
    "Method": "方法",
    METHOD:
        "范围一：燃料按低位热值的能量乘以各气体的因子，并按所列全球变暖潜势折算为二氧化碳当量；逸散按补充量计。范"
        "围二依据 GHG Protocol 范围二指南：基于位置的方法用电网逐小时平均强度，未知时用当年因子；基于市场的方法先"
        "扣除同一时段注销的证书，其余依次按供应商因子、剩余组合或电网平均。两种结果回答不同的问题，绝不相加。边际"
        "强度不进入清单。外送电量不抵减排放。已知时长过半的时段按比例补足并标为估算，不足则为缺失，缺失不是零。表底"
        "数在缺口期间的增量按时间均摊，标为估算。使用其他年份或更大地区的因子即为估算。每个数字都链接到构成它的明"
        "细，即账本当时的版本。",
    HOURLY_METHOD:
        "一小时的负荷，以当小时自发自用的电量以及同一小时、同一电网的证书为限计为匹配。总量：全部自发电量对全部负"
        "荷，不论时刻，即年度口径。逐小时：各小时分别计算。含电网：其余按电网该小时的无碳份额计（24/7 CFE）。电池"
        "充电计为负荷，放电从中扣除。任一部分缺失的小时不参与计算。每个数字都链接到构成它的小时与明细，即账本当时的版本。",
    "By part of the period": "按时段",
    "Meter": "表计",
    "Meter, from": "表计，起始",
    "From": "起始",
    "Factors": "排放因子",
    "Row": "编号",
    "Kind": "类别",
    "Value": "数值",
    "Region, year": "地区，年份",
    "Source": "来源",
    "by interval": "逐时",
    "a property of the grid, interval by interval": "电网属性，逐时",
    "average": "平均",
    "residual": "剩余组合",
    "supplier": "供应商",
    "lifecycle": "生命周期",
    "fuel": "燃料",
    "fuel-methane": "燃料 CH4",
    "fuel-nitrous-oxide": "燃料 N2O",
    "heating": "低位热值",
    "density": "密度",
    "process": "过程",
    "upstream": "上游",
    "gwp": "全球变暖潜势",
    "Energy balance": "电量平衡",
    "Main kWh": "总表 kWh",
    "Parts kWh": "分表合计 kWh",
    "Residual kWh": "差额 kWh",
    "Apart": "偏差",
    "Hours known": "已知小时",
    "Verdict": "结论",
    "closes": "平衡",
    "not known": "未知",
    "does not close": "不平衡",
    "closes where it is known": "已知部分平衡",
    "among the hours most apart": "偏差最大的小时之一",
    "Drawing is positive. Apart is counted hour by hour, a gap as one: errors hide no others.":
        "用电为正。偏差逐小时累计（缺口合并计），误差不会相互抵消。",
    # the inventory
    "Greenhouse gas inventory: {}": "温室气体清单：{}",
    "{} {} of all intervals are known: {} measured, {} estimated, {} missing. {} were restated.":
        "{}时段已知 {}：实测 {}，估算 {}，缺失 {}；其中重述 {}。",
    "Scope 1": "范围一",
    "Scope 2, location-based": "范围二，基于位置",
    "Scope 2, market-based": "范围二，基于市场",
    "Scope 3": "范围三",
    "Scope 1, and scope 2 by both rules": "范围一，以及两种方法的范围二",
    UNITS:
        "单位为千克二氧化碳当量。短横表示缺失或未报告，不是零。估算 kWh 为未完整计量时段的电量：表底数在缺口期间的"
        "增量，以及按比例补足的电量。",
    "Estimated kWh": "估算 kWh",
    "the end of a gap": "缺口结束",
    "Drawn kWh": "购入 kWh",
    "Given kWh": "外送 kWh",
    "Made kWh": "自发 kWh",
    "Location kg": "基于位置 kg",
    "Market kg": "基于市场 kg",
    "Fuel kWh": "燃料 kWh",
    "Scope 1 kg": "范围一 kg",
    "Scope 3 kg": "范围三 kg",
    "Scope 1 by gas": "范围一按气体",
    "Other gases kg CO2e": "其他气体 kg CO2e",
    "All kg CO2e": "合计 kg CO2e",
    "combustion": "燃烧",
    "leak": "逸散",
    "kg of each gas; the last two in CO2 equivalent, over 100 years: {}.":
        "各气体的质量（kg）；后两列为二氧化碳当量，100 年：{}。",
    "ISO 14064-1 categories": "ISO 14064-1 类别",
    "Category": "类别",
    "1 direct": "1 直接排放",
    "\u2003of which {}": "\u2003其中 {}",
    "2 imported energy, location-based": "2 外购能源，基于位置",
    "2 imported energy, market-based": "2 外购能源，基于市场",
    "3 to 6 other indirect": "3 至 6 其他间接排放",
    "Of which": "其中",
    "{} (submeter of {})": "{}（{} 的分表）",
    "{} (storage of {})": "{}（{} 的储能）",
    "Submeters and storages: their energy is in the lines above already.": "分表与储能：其电量已计入上表。",
    "Meters that are not accounted": "未核算的表计",
    "Why": "原因",
    "nothing was read of it yet": "尚无读数",
    "Restated": "重述",
    "Intervals": "时段数",
    "First written": "首次写入",
    "Last written": "最后写入",
    "late readings": "迟到读数",
    "certificates": "证书",
    "accounts": "账户变更",
    "What was reported before stays in the ledger: taihu carbon report PROJECT --as-of MOMENT.":
        "以前报告的数字仍在账本中：taihu carbon report PROJECT --as-of MOMENT。",
    # what controllers avoided
    AVOIDED_METHOD:
        "后果性核算，依据 GHG Protocol 项目核算：因控制器的动作，电网其他机组少排放（负值为多排放）的量。对其驱动的每个"
        "小时：无控制时表计本应购入减外送的电量，减去实际值，乘以电网的边际强度。它与清单回答不同的问题，不是抵消，绝不与清"
        "单相加减。没有边际强度的小时为缺失；基线未经实测，或强度不是当小时自身的，为估算。",
    "Avoided emissions, by marginal intensity: not in the inventory": "避免的排放，按边际强度：不计入清单",
    "Marginal intensities": "边际强度",
    "Method of avoided emissions": "避免排放的方法",
    "Controller": "控制器",
    "Without control kWh": "无控制 kWh",
    "With control kWh": "有控制 kWh",
    "Avoided kg": "避免 kg",
    "marginal": "边际",
    # hourly matching
    "Hourly matching: {}": "逐小时匹配：{}",
    "{} {} of the hours are known, {} of them estimated.{}": "{}已知小时占 {}，其中估算 {} 小时。{}",
    " In {} hours more was given than drawn and made: no load is known then.":
        "有 {} 小时外送多于购入与自发之和，负荷未知。",
    "Matched in sum": "总量匹配",
    "Matched by the hour": "逐小时匹配",
    "With certificates": "含证书",
    "With the grid's share (CFE)": "含电网无碳份额（CFE）",
    "Load and carbon-free energy": "负荷与无碳电量",
    "Load": "负荷",
    "Made carbon-free": "自发无碳电量",
    "Matched in its hour": "当小时匹配",
    "Unmatched in its hour": "当小时未匹配",
    "Unmatched in sum": "总量未匹配",
    "Drawn from the grid": "自电网购入",
    "Of that covered by certificates": "其中证书覆盖",
    "By the time of day": "按一天中的时刻",
    "Load of each hour of the day, and how much of it was matched": "一天各小时的负荷及其匹配部分",
    "By the local time an hour begins at ({}): load, and in green what was matched in its own hour.":
        "按小时起始的当地时间（{}）：负荷，绿色为当小时匹配部分。",
    "Load kWh": "负荷 kWh",
    "In sum": "总量",
    "By the hour": "逐小时",
    "With the grid": "含电网",
    "Known": "已知",
    "All": "合计",
    "Scope 2 of the same period": "同期范围二",
    "Rule": "方法",
    "Location-based": "基于位置",
    "Market-based, certificates by the hour": "基于市场，证书逐小时",
    "Market-based: an hour's certificates first, the rest by the factors below. The two are never added.":
        "基于市场：先扣除当小时证书，其余按下列因子。两种结果绝不相加。",
}  # fmt: skip
