"""What a person expects of a search among the demo items is among the first three."""

import json
from pathlib import Path
from typing import Any

import pytest

from services.mall import Mall
from tests.client import Client
from tests.factories import add_item

# The demo mall is Chinese; these make it one of two languages.
DEMO_ITEMS = Path(__file__).parents[3] / "dev" / "demo" / "items.json"

ENGLISH: list[dict[str, Any]] = [
    {"name": "Wireless Noise-Cancelling Headphones", "tags": ["audio", "bluetooth"]},
    {"name": "Bluetooth Speaker", "tags": ["audio", "portable"]},
    {"name": "Stainless Steel Water Bottle", "tags": ["kitchen", "outdoor"]},
    {"name": "Coffee Mug", "tags": ["kitchen"], "description": "Keeps tea hot as well."},
    {"name": "Espresso Machine", "tags": ["kitchen", "coffee"]},
    {"name": "Travel Pillow", "tags": ["sleep"], "description": "For coffee-free flights."},
    {
        "name": "Kindle Paperwhite 电子书阅读器",
        "tags": ["reading", "ebook"],
        "category": "数码配件",
    },
    {"name": "Gift Card 50", "tags": ["voucher"], "description": "Spend it on anything."},
    {"name": "Yoga Mat", "tags": ["fitness"], "description": "Extra thick, 6 mm."},
    {"name": "Mechanical Keyboard", "tags": ["office"], "description": "Brown switches."},
]
EXPECTED: dict[str, set[str]] = {
    # Chinese: whole words, words together, parts, single characters
    "耳机": {"半入耳无线耳机", "头戴式降噪耳机", "有线入耳式耳机 USB-C 款"},
    "降噪耳机": {"头戴式降噪耳机"},
    "耳机 无线": {"半入耳无线耳机"},
    "蓝牙耳机": {"半入耳无线耳机"},
    "移动电源": {"磁吸移动电源 5000mAh", "大容量移动电源 20000mAh"},
    "硬盘": {"1TB 移动固态硬盘"},
    "咖啡": {"手冲挂耳咖啡 20 片", "冷萃咖啡液 12 颗装", "连锁咖啡中杯兑换券"},
    "咖啡券": {"连锁咖啡中杯兑换券"},
    "茶叶": {"高山绿茶 150 克", "茉莉花茶三角包 30 枚", "陈皮白茶饼 5 克小饼 20 枚"},
    "茶": {"高山绿茶 150 克", "茉莉花茶三角包 30 枚", "陈皮白茶饼 5 克小饼 20 枚"},
    "视频会员年卡": {"视频会员年卡"},
    "视频会员": {"视频会员月卡", "视频会员季卡", "视频会员年卡"},
    "金卡年卡": {"金卡会员年卡"},
    "手机支架": {"车载手机支架 出风口款", "铝合金手机桌面支架"},
    "牙刷": {"声波电动牙刷", "细软毛牙刷六支装"},
    "行李箱": {"20 英寸登机箱"},
    "枕头": {"慢回弹记忆枕", "记忆棉 U 型枕"},
    "电影票": {"电影票 15 元抵扣券"},
    "机票": {"国内机票立减 50 元券"},
    "酒店优惠": {"酒店满 400 减 60 元券"},
    "羽毛球": {"羽毛球拍双支套装", "比赛级羽毛球 12 只", "羽毛球馆 20 元订场券"},
    "儿童保温杯": {"儿童保温吸管杯 350 毫升"},
    "送给宝宝的纯棉": {"新生儿纯棉礼盒"},
    "露营灯": {"露营营地灯"},
    "停车券": {"停车 3 小时抵扣券"},
    "植树": {"种一棵梭梭树"},
    "打车": {"网约车 8 元快车券"},
    "拼图": {"木质拼图地图版", "星空主题 1000 片拼图"},
    # Chinese as one types
    "充": {"双口氮化镓充电器 65W"},
    "扫拖机": {"激光导航扫拖机器人"},
    "筋膜": {"智能筋膜枪 迷你款"},
    "电子书阅": {"Kindle Paperwhite 电子书阅读器"},
    # letters and digits, full width, mixed
    "65w 充电器": {"双口氮化镓充电器 65W"},
    "ＵＳＢ－Ｃ 耳机": {"有线入耳式耳机 USB-C 款"},
    "usbc 扩展坞": {"七合一 USB-C 扩展坞"},
    "spf": {"清爽防晒乳 SPF50+"},
    "T恤": {"速干 T 恤 男女同款"},
    "k歌": {"K 歌会员月卡"},
    # English: names over tags over descriptions
    "headphones": {"Wireless Noise-Cancelling Headphones"},
    "bluetooth": {"Bluetooth Speaker", "Wireless Noise-Cancelling Headphones"},
    "coffee": {"Coffee Mug", "Espresso Machine", "Travel Pillow"},
    "water bottle": {"Stainless Steel Water Bottle"},
    "the gift card": {"Gift Card 50"},
    # English as one types
    "keyb": {"Mechanical Keyboard"},
    "blue": {"Bluetooth Speaker"},
    "steel wat": {"Stainless Steel Water Bottle"},
    "kindle 阅读": {"Kindle Paperwhite 电子书阅读器"},
    # English with typing mistakes
    "headphnes": {"Wireless Noise-Cancelling Headphones"},
    "bluetoth speaker": {"Bluetooth Speaker"},
    "cofee mug": {"Coffee Mug"},
    "expresso": {"Espresso Machine"},
    "keybaord": {"Mechanical Keyboard"},
    "kindel": {"Kindle Paperwhite 电子书阅读器"},
    "wirless headphone": {"Wireless Noise-Cancelling Headphones"},
}
QUERY = """query ($search: String!) {
  items(first: 3, filter: {search: $search}, orderBy: RELEVANCE) { nodes { name } }
}"""


@pytest.fixture
async def catalogue(mall: Mall) -> None:
    """The demo items, and some in English."""
    for entry in [*json.loads(DEMO_ITEMS.read_text()), *ENGLISH]:
        texts = {key: entry.get(key) for key in ("name", "description", "category")}
        await add_item(mall, **texts, tags=entry["tags"], is_active=entry.get("is_active", True))


@pytest.mark.usefixtures("catalogue")
async def test_what_is_expected_comes_first(client: Client) -> None:
    """All that is expected of each query is among its first three."""
    missing = {}
    for search, expected in EXPECTED.items():
        nodes = (await client.data(QUERY, {"search": search}))["items"]["nodes"]
        found = [node["name"] for node in nodes]
        if not expected <= set(found):
            missing[search] = found
    assert missing == {}


@pytest.mark.usefixtures("catalogue")
async def test_a_name_comes_before_a_tag_before_a_description(client: Client) -> None:
    """In English and in Chinese."""
    for search, expected in (
        ("coffee", ["Coffee Mug", "Espresso Machine", "Travel Pillow"]),
        ("阅读器", ["Kindle Paperwhite 电子书阅读器"]),
        ("护眼", ["暖光护眼台灯", "乡村图书馆灯光计划", "动画频道会员月卡"]),
    ):
        nodes = (await client.data(QUERY, {"search": search}))["items"]["nodes"]
        assert [node["name"] for node in nodes] == expected
