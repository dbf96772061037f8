"""What the pilot says in English, in Chinese: reasons and notes of plans, sentence by sentence.

The node keeps each sentence as it was said. One that is not here stands as it is.
"""

import re

from taihu.console.texts import Language

_SENTENCES: dict[str, str] = {
    # why an asset does what it does
    r"the meter": "电表",
    r"nothing to do": "无需动作",
    r"gives what it can": "按其所能发电",
    r"curtailed by ([\d.]+) kW": "限发 {0} kW",
    r"runs now": "正在运行",
    r"gives back now": "正在回馈",
    r"is not needed": "暂不需要",
    r"waits ([\d.]+) h": "等待 {0} 小时",
    r"does not do what it is told": "不执行指令",
    # why a plan is as it is
    r"The grid connection is full: (\S+) of (\S+) kW\.": "进线已满：{0} / {1} kW。",
    r"No more may be fed in: (\S+) of (\S+) kW\.": "上网功率已达上限：{0} / {1} kW。",
    r"The demand charge counts the highest power: (\S+) kW now\.": "需量按最高功率计费：当前 {0} kW。",
    r"A kWh costs (\S+), and no less later: what can run runs now\.": "每千瓦时 {0}，此后不会更低：可运行者现在运行。",
    r"A kWh costs (\S+) now and (\S+) in (\S+) h: what can wait waits\.": (
        "每千瓦时现为 {0}，{2} 小时后为 {1}：可等待者等待。"
    ),
    # what was not known, and what stands for it
    r"(\S+) does not do what it is told: it is left alone for an hour": "{0} 不执行指令：一小时内不再驱动",
    r"(\S+) does not say what it holds: it is taken for empty": "{0} 未报电量：按空电处理",
    r"(\S+) is still there after its departure: the next (\S+) stands for it": (
        "{0} 过了离开时间仍在：以下一个 {1} 代之"
    ),
    r"(\S+) is not known: (\S+) °C stand for it": "{0} 未知：以 {1} °C 代之",
    r"(\S+) is left out: its state of charge is not known": "{0} 未参与：电量未知",
    r"(\S+) is left out: its temperature is not known": "{0} 未参与：温度未知",
    r"(\S+) is left out: what it has to do is not known": "{0} 未参与：剩余工作量未知",
    r"(\S+) is late: it had to be done": "{0} 已逾期",
    r"(\S+) left before its time, (\S+) kWh short": "{0} 提前离开，尚差 {1} kWh",
    r"(\S+) left, (\S+) kWh short": "{0} 离开时尚差 {1} kWh",
    r"(\S+) was told to begin, and does not run": "{0} 已收到启动指令，但未运行",
    r"(feed-in: )?(\d+) prices are missing: those of the days before stand for them": (
        "缺 {1} 个电价：以前几日同时段代之"
    ),
    r"(feed-in: )?(\d+) prices are missing: the dearest that is known stands for them": (
        "缺 {1} 个电价：以已知最高价代之"
    ),
    r"(feed-in: )?(\d+) prices are missing: the least that is known stands for them": "缺 {1} 个电价：以已知最低价代之",
    r"(feed-in: )?(\d+) prices of (\S+) cannot be, such as (\S+): they are none": (
        "{2} 有 {1} 个不可能的电价（如 {3}）：不采用"
    ),
    r"(\S+) has no price of the last 8 days or to come: its last is of (\S+)\. Let it have some\.": (
        "{0} 没有最近 8 天或未来的电价（最后一个为 {1}）：请提供"
    ),
    r"(\S+) has no price of the last 8 days or to come: it has none that can be\. Let it have some\.": (
        "{0} 没有最近 8 天或未来的可信电价：请提供"
    ),
    r"(\d+) of (\d+) values of (\S+) are missing or outside (\S+) to (\S+): a plainer forecast stands for them": (
        "{2} 的 {1} 个预测值中有 {0} 个缺失或超出 {3} 至 {4}：以更简单的预测代之"
    ),
    r"nothing was measured in the last (\d+) hours": "最近 {0} 小时没有测量值",
    r"(.+): its own plain forecast stands for it": "{0}：以自身的简单预测代之",
    r"(\S+) is not kept forecast": "{0} 未设预测",
    r"(\S+) has no champion yet": "{0} 尚无最佳模型",
    r"the forecast of (\S+) is (\d+) steps old": "{0} 的预测已过时 {1} 步",
    r"(.+); likewise (.+) and (\d+) more": "{0}；{1} 等另 {2} 个同此",
    r"(.+); likewise (.+)": "{0}；{1} 同此",
    # what cannot be
    r"(\S+) is left out: it says a charge of (\S+) %": "{0} 未参与：所报电量 {1} % 不可能",
    r"(\S+) is taken for empty: it says a charge of (\S+) %": "{0} 按空电处理：所报电量 {1} % 不可能",
    r"(\S+) is left out: it says (\S+) °C, which cannot be": "{0} 未参与：所报温度 {1} °C 不可能",
    r"(\S+) is left out: it says a charge of (\S+) % all the time, (\S+) kWh came or went": (
        "{0} 未参与：所报电量一直为 {1} %，而进出已有 {2} kWh"
    ),
    r"(\S+) is taken for empty: it says a charge of (\S+) % all the time, (\S+) kWh came or went": (
        "{0} 按空电处理：所报电量一直为 {1} %，而进出已有 {2} kWh"
    ),
    r"(\S+) is left out: it says a charge of (\S+) % after another a moment ago": (
        "{0} 未参与：所报电量跳动，现为 {1} %"
    ),
    r"(\S+) is taken for empty: it says a charge of (\S+) % after another a moment ago": (
        "{0} 按空电处理：所报电量跳动，现为 {1} %"
    ),
    r"(\S+) is left out: it says (\S+) °C after another a moment ago": "{0} 未参与：所报温度跳动，现为 {1} °C",
    r"(\S+) is told in vain, (.+): tried again in (\d+) min": "{0} 的指令被拒绝（{1}）：{2} 分钟后再试",
    r"is told in vain, (.+)": "指令被拒绝（{0}）",
    r"(\S+) has no permit, somebody withdrew it: another is asked for in (\d+) min": (
        "{0} 的许可已被收回：{1} 分钟后重新申请"
    ),
    r"has no permit, somebody withdrew it": "许可已被收回",
    r"(\S+) does not give back: it is only charged until it leaves": "{0} 不回馈：离开前只充电",
    r"(\S+) is left out: it says (\S+) °C all the time, (\S+) K should have come or gone": (
        "{0} 未参与：所报温度一直为 {1} °C，而应已变化 {2} K"
    ),
    r"(\S+) (?:leaves|is due) (\S+) s after 1970, which cannot be: the next (\S+) stands for it": (
        "{0} 所报时刻为 1970 年后 {1} 秒，不可能：以下一个 {2} 代之"
    ),
    r"(\S+) is left out: (\S+) does not say whether it is (\S+)": "{0} 未参与：{1} 未报 {2}",
    r"(\S+) is left out: (\S+) says (.+), which does not say whether it is (\S+)": (
        "{0} 未参与：{1} 报 {2}，看不出 {3} 与否"
    ),
    r"Decisions cannot be kept: (.+)\. Make room on the disk\.": "决策无法保存（{0}）：请腾出磁盘空间",
    r"(\S+) came to (\S+) kW in the last hour, which cannot be: it is not learned": (
        "{0} 上一小时为 {1} kW，不可能：不予学习"
    ),
    r"(\S+) came to (\S+) kW in the last hour: what a generator gives is positive": (
        "{0} 上一小时为 {1} kW：发电应为正值"
    ),
    r"(\S+) came to (\S+) kW in the last hour: it is taken for generation": "{0} 上一小时为 {1} kW：按发电处理",
    r"quarters of (\S+) that cannot be are no demand": "{0} 中不可能的一刻钟值不计入需量",
    r"(\S+) says (\S+) kW, which cannot be": "{0} 报 {1} kW，不可能",
    # what is not known at all
    r"(\S+) says nothing": "{0} 没有读数",
    r"(.+): all do as planned without it": "{0}：一律按计划运行",
    r"(.+): all do as planned without it, and (\S+) cannot be held": "{0}：一律按计划运行，且无法保证 {1}",
    r"(.+): all do as planned without it, and (\S+) and (\S+) cannot be held": (
        "{0}：一律按计划运行，且无法保证 {1} 和 {2}"
    ),
    r"nothing was measured of (\S+) yet: (.+)": "{0} 尚无测量值：{1}",
    r"nothing was measured of (\S+) in the last (\d+) hours": "{0} 最近 {1} 小时没有测量值",
    r"carbon takes no part": "不计碳排放",
    r"0 kW is expected of it": "按 0 kW 预计",
    r"of (.+) no hour is known whole yet": "{0} 尚无一个完整小时的数据",
    r"it plans nothing new: (.+)": "不再生成新计划：{0}",
    # a replay of stored days
    r"the prices of (\S+) are taken as known a day ahead": "按提前一天已知 {0} 的电价处理",
    r"(\S+) begins half full": "{0} 以半满开始",
    r"(\S+) begins at a quarter of its band: no temperature is stored": "{0} 以区间的四分之一开始：没有存储温度",
    r"(\S+) runs once in each of its windows": "{0} 在每个时间窗内运行一次",
    r"(\S+) takes no part: when it was plugged in is not stored": "{0} 未参与：没有存储插入时间",
}
_BREACHES = {
    "grid-import": "进线",
    "feed-in": "上网",
    "group": "组限额",
    "departure": "离开时电量",
    "late": "逾期",
    "charge": "电量范围",
    "comfort": "舒适范围",
}
_SENTENCES |= {
    rf"Not all can be kept: (.+) misses (\S+) (\S+) \({kind}\)\.": f"约束无法都满足：{{0}} 差 {{1}} {{2}}（{words}）。"
    for kind, words in _BREACHES.items()
}
_NAME = "([^:;]+?)"  # with which many begin: an asset's may have spaces
_KNOWN = {
    re.compile(_NAME + sentence.removeprefix(r"(\S+)") if sentence.startswith(r"(\S+)") else sentence): words
    for sentence, words in _SENTENCES.items()
}


def said(language: Language, words: str) -> str:
    """A sentence of the pilot in the page's language.

    >>> said("zh", "waits 2.5 h"), said("en", "waits 2.5 h"), said("zh", "new words")
    ('等待 2.5 小时', 'waits 2.5 h', 'new words')
    >>> said("zh", "forklift 1 takes no part: when it was plugged in is not stored")
    'forklift 1 未参与：没有存储插入时间'
    >>> said("zh", "nothing was measured of m/pv yet: 0 kW is expected of it")
    'm/pv 尚无测量值：按 0 kW 预计'
    """
    if language == "zh":
        for sentence, chinese in _KNOWN.items():
            if (found := sentence.fullmatch(words)) is not None:
                return chinese.format(*(said(language, part or "") for part in found.groups()))
    return words
