"""Every word the console shows, in each of its languages."""

from typing import Literal

from taihu.console.words_ahead import AHEAD
from taihu.console.words_people import PEOPLE

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")

TEXTS: dict[str, tuple[str, str]] = {
    **PEOPLE,
    **AHEAD,
    # frame
    "app": ("Taihu", "太湖"),
    "page_district": ("District", "园区"),
    "page_site": ("Projects", "项目"),
    "page_things": ("Things", "设备"),
    "page_carbon": ("Carbon", "碳账"),
    "page_plans": ("Plans", "计划"),
    "page_forecasts": ("Forecasts", "预测"),
    "page_people": ("People", "人员"),
    "page_account": ("Account", "账户"),
    "navigation": ("Pages", "页面"),
    "language": ("Language", "语言"),
    "theme": ("Light or dark", "浅色或深色"),
    "clock_demo": ("demo clock, {speed}×", "演示时钟，{speed} 倍速"),
    "clock_site": ("site time", "现场时间"),
    "starting": ("Connecting", "正在连接"),
    "connected": ("Connected", "已连接"),
    "away": ("Node away", "节点失联"),
    "refused": ("Token refused", "令牌被拒"),
    "notice_starting": ("Connecting to the node …", "正在连接节点……"),
    "notice_away": (
        "The node has not answered for {away}. What you see is from then; the next try is in {retry}.",
        "节点已 {away}无应答。以下为失联前的数据，{retry}后重试。",
    ),
    "notice_refused": (
        "The node refuses the console's token. Start the console with a token of this site.",
        "节点拒绝了控制台的令牌。请使用本站点的令牌启动控制台。",
    ),
    # carbon
    "carbon_days": ("the last {days} days", "最近 {days} 天"),
    "carbon_none": (
        "No meter of these projects has an account yet. Write [[project.account]] in site.toml (docs/carbon.md).",
        "这些项目中还没有电表建立碳账户。请在 site.toml 中写入 [[project.account]]（见 docs/carbon.md）。",
    ),
    "carbon_matched": ("Carbon-free energy and emissions", "零碳电量与排放"),
    "carbon_time_of_day": ("Load by the time of day", "各时段用电"),
    "carbon_load": ("load", "用电"),
    "carbon_matched_part": ("matched in its own hour", "同小时零碳供给"),
    "carbon_known": ("{share} % of the hours known", "已知 {share}% 的小时"),
    "carbon_note": (
        "The two rules of scope 2 answer different questions and are never added. Export earns no credit.",
        "范围二的两种口径回答不同的问题，不可相加；上网电量不抵扣。",
    ),
    "carbon_estimated": ("Estimated", "估算"),
    "carbon_legend": (
        "Estimated: not metered in full. Certificates: used / issued. Balance: the main meter against all behind it.",
        "估算：未完整计量的电量。绿证：已用 / 已签发。电量平衡逐小时比较总表与其后的全部分表、发电与储能。",
    ),
    "carbon_avoided": ("Avoided by control, consequential", "控制避免的排放（后果性）"),
    "carbon_avoided_kg": ("Avoided, by marginal intensity", "避免，按边际强度"),
    "carbon_avoided_hours": (
        "{measured} h measured, {estimated} estimated, {missing} missing",
        "实测 {measured} 小时，估算 {estimated} 小时，缺失 {missing} 小时",
    ),
    "carbon_avoided_note": (
        "What the grid's other plants emitted less because of control: in no inventory, and never added to one.",
        "因控制而使电网其他机组少排放的量：不计入清单，也绝不与之相加。",
    ),
    "project": ("Project", "项目"),
    "load": ("Load", "用电"),
    "made": ("Made carbon-free", "零碳发电"),
    "in_sum": ("Matched in sum", "总量匹配"),
    "by_the_hour": ("Matched by the hour", "逐小时匹配"),
    "by_the_hour_shared": ("By the hour, shared", "逐小时互济"),
    "location": ("Location-based", "基于位置"),
    "market": ("Market-based", "基于市场"),
    "certificates": ("Certificates", "绿证"),
    "balance": ("Energy balance", "电量平衡"),
    "balances": ("Balances that close", "闭合的平衡"),
    "balances_close": ("{closing} of {of}", "{closing} / {of} 项"),
    "balance_closes": ("closes: {share} %", "闭合：{share}%"),
    "balance_apart": ("{share} % apart, {kwh} kWh", "相差 {share}%，{kwh} 千瓦时"),
    "balance_unknown": ("not known", "未知"),
    # district, now
    "net_power": ("Net power now", "当前净功率"),
    "importing": ("drawn from the grid", "从电网取电"),
    "exporting": ("fed into the grid", "向电网送电"),
    "balanced": ("in balance", "收支平衡"),
    "houses_flow": (
        "{importing} importing, {exporting} exporting, {even} even",
        "{importing} 户取电，{exporting} 户送电，{even} 户平衡",
    ),
    "houses_known": ("{known} of {of} houses", "{of} 户中已知 {known} 户"),
    "pv_power": ("PV power", "光伏功率"),
    "battery_charge": ("Batteries, mean charge", "电池平均电量"),
    "carbon_rate": ("Carbon rate", "碳排放速率"),
    "intensity": ("Average grid intensity", "电网平均碳强度"),
    "outdoor": ("Outdoors", "室外温度"),
    "price": ("Tariff", "电价"),
    # chart
    "last_day": ("Last 24 hours", "最近 24 小时"),
    "chart_energy": ("Net energy, kWh per hour", "净电量，kWh/小时"),
    "chart_carbon": ("Carbon, kg per hour", "碳排放，kg/小时"),
    "chart_intensity": ("Average intensity, kg/kWh", "平均碳强度，kg/kWh"),
    "chart_import": ("import", "取电"),
    "chart_export": ("export", "送电"),
    "chart_partial": ("incomplete hour", "不完整的小时"),
    "chart_missing": ("no data", "无数据"),
    "chart_coverage": ("known {percent} %", "已知 {percent}%"),
    "chart_empty": (
        "No complete hour yet. The first appears when an hour has ended.",
        "还没有完整的小时，一小时结束后即会出现。",
    ),
    "chart_waiting": ("Reading the history …", "正在读取历史数据……"),
    # data strip
    "acked": ("Messages acknowledged", "已确认报文"),
    "stored": ("Points stored", "已存储数据点"),
    "lag": ("History", "历史存储"),
    "lag_none": ("up to date", "已是最新"),
    "lag_behind": ("{count} batches behind", "落后 {count} 批"),
    "newest": ("Newest value", "最新数值"),
    "devices": ("Devices", "设备"),
    "online": ("online", "在线"),
    "late": ("late", "迟到"),
    "silent": ("silent", "静默"),
    "never": ("never heard", "从未上报"),
    "never_short": ("never", "从未"),
    # houses
    "houses": ("Houses", "住宅"),
    "house": ("House {number}", "{number} 号住宅"),
    "import": ("import", "取电"),
    "export": ("export", "送电"),
    "even": ("even", "平衡"),
    "unknown": ("unknown", "未知"),
    "pv": ("PV", "光伏"),
    "battery": ("Battery", "电池"),
    "meter": ("Meter", "电表"),
    "grid": ("Grid", "电网"),
    "carbon": ("Carbon", "碳排放"),
    "charging": ("charging", "充电"),
    "discharging": ("discharging", "放电"),
    "idle": ("idle", "待机"),
    "stale": ("stale", "数据过期"),
    "no_value": ("no value yet", "尚无数据"),
    # legend
    "legend": ("How to read this", "读图说明"),
    "measured": ("measured", "实测"),
    "modelled": ("modelled", "模型"),
    "synthetic": ("synthetic", "合成"),
    "legend_measured": ("hourly load and PV energy", "每小时用电量与光伏电量"),
    "legend_modelled": ("batteries, and with them each hour's net energy", "电池，以及含电池的每小时净电量"),
    "legend_synthetic": ("power and registers between the hours", "整点之间的功率与表底"),
    "legend_carbon": (
        "Carbon is net import × average intensity, location-based; export earns no credit.",
        "碳排放 = 净取电 × 平均碳强度（基于位置）；送电不计抵扣。",
    ),
    "legend_source": (
        "Houses: CityLearn Challenge 2022, Fontana, California.",
        "住宅数据：CityLearn Challenge 2022，美国加州丰塔纳。",
    ),
    # ages
    "age_now": ("just now", "刚刚"),
    "age": ("{span} ago", "{span}前"),
    "span_s": ("{count} s", "{count} 秒"),
    "span_min": ("{count} min", "{count} 分钟"),
    "span_h": ("{count} h", "{count} 小时"),
    "span_d": ("{count} d", "{count} 天"),
    # projects and things
    "projects_lead": ("What this site knows now.", "本站点当前的全部数据。"),
    "no_projects": ("This token may not read any project yet.", "该令牌目前不能读取任何项目。"),
    "things_count": ("{count} things", "{count} 个设备"),
    "things_one": ("1 thing", "1 个设备"),
    "things_first": ("{shown} of {count} things", "{count} 个设备中的 {shown} 个"),
    "things_next": ("Next {count}", "后 {count} 个"),
    "things_start": ("From the first", "回到开头"),
    "granted": ("by grant", "经授权"),
    "refused_count": ("{count} refused", "{count} 条被拒"),
    "filter": ("Filter by project, thing or property", "按项目、设备或属性筛选"),
    "filter_none": ("Nothing here matches.", "没有匹配的内容。"),
    "no_things": (
        "No things yet. They come with a token (taihu token issue), by protocol (taihu add) or by file (taihu import).",
        "还没有设备。可凭令牌（taihu token issue）、按协议（taihu add）或由文件（taihu import）接入。",
    ),
    "thing": ("Thing", "设备"),
    "property": ("Property", "属性"),
    "value": ("Value", "数值"),
    "unit": ("Unit", "单位"),
    "undeclared": ("undeclared", "未声明"),
    "age_column": ("Age", "时效"),
    "quality": ("Quality", "质量"),
    "good": ("good", "良好"),
    "suspect": ("suspect", "可疑"),
    "stamped": ("stamped on arrival", "到达时标记"),
}

SEMICOLON: dict[Language, str] = {"en": "; ", "zh": "；"}
COLON: dict[Language, str] = {"en": ": ", "zh": "："}
WEEKDAYS: dict[Language, tuple[str, ...]] = {
    "en": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
    "zh": ("周一", "周二", "周三", "周四", "周五", "周六", "周日"),
}
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def text(language: Language, key: str, **values: object) -> str:
    """The words of `key` in a language, its places filled with `values`; KeyError when there are none.

    >>> text("en", "houses_known", known=16, of=17)
    '16 of 17 houses'
    """
    return TEXTS[key][LANGUAGES.index(language)].format(**values)


def preferred(accepted: str) -> Language:
    """The language of an Accept-Language header: Chinese where it comes first, otherwise English.

    >>> preferred("zh-CN,zh;q=0.9,en;q=0.8"), preferred("de, en;q=0.5"), preferred("en, zh;q=0.5")
    ('zh', 'en', 'en')
    """
    known = (tag.strip()[:2].lower() for tag in accepted.split(","))
    return next((language for tag in known for language in LANGUAGES if tag == language), "en")


def word(language: Language, key: str) -> str:
    """The words of `key`, or `key` itself where it is a device's own word.

    >>> word("en", "fluttering")
    'fluttering'
    """
    return text(language, key) if key in TEXTS else key
