from tests.interop.peer import Peer
from tests.interop.test_clients import pub
def test_x(site):
    with Peer(site.mqtt_port, "op", 4, username=site.tokens["plant"]) as op, Peer(site.mqtt_port,"t",5,username=site.tokens["plant/meter"]) as t:
        print(op.subscribe("taihu/plant/#","chat/#", qos=1))
        print(t.publish("taihu/plant/meter/power", b"11.5", 1), t.publish("chat/a", b"x", 1))
        print(op.quiet(1))
        pub(site, "-u", site.tokens["plant/meter"], "-t", "taihu/plant/meter/power", "-q", "1", "-m", "11.5")
        print(op.quiet(1))
        print(site.get("/node","plant").body)
    print(site.log())
