"""The look of a report: dark and light, wide and narrow, on paper. Stage: beside `page`."""

STYLE = """
:root{color-scheme:light dark;--bg:#fcfcfa;--card:#fff;--ink:#1b1f23;--soft:#59636e;--line:#dfe3e6;--grid:#e9ecee;
--good:#0a7d47;--bad:#c4320a;--open:#8f6400;--good-bg:#e6f5ec;--bad-bg:#fdece6;--open-bg:#fbf3dc;
--c1:#2563c9;--c2:#d97706;--c3:#8b3fb0;--c4:#0d8f6f;--c5:#c93a73;--c6:#4a8fb5;--c7:#7a6b2c;--c8:#6b7280;
--ramp:#8892a0;--load:#2563c9;--rate:#0d8f6f;--drill:#b8860b;--harm:#d9480f}
@media (prefers-color-scheme:dark){:root{--bg:#101417;--card:#161b1f;--ink:#e7ebee;--soft:#9aa6b1;--line:#2b333a;--grid:#232a30;
--good:#4cc78a;--bad:#ff8a65;--open:#e6b94a;--good-bg:#12301f;--bad-bg:#3a1d14;--open-bg:#322813;
--c1:#6ea3f7;--c2:#f2a33c;--c3:#c58be0;--c4:#45c9a5;--c5:#f07fa9;--c6:#7fc0e2;--c7:#cdbb6a;--c8:#a3adb8;
--ramp:#5d6874;--load:#3f74d1;--rate:#2aa384;--drill:#c9a227;--harm:#e8663a}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;
font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
main{max-width:1020px;margin:0 auto;padding:32px 20px 64px}
h1{font-size:26px;line-height:1.2;margin:0 0 4px;letter-spacing:-.01em}
h2{font-size:18px;margin:44px 0 12px;letter-spacing:-.005em}
h3{font-size:15px;margin:22px 0 2px}
p{margin:4px 0}
a{color:inherit}
.soft{color:var(--soft)}
.small{font-size:13px;color:var(--soft)}
code{font:13px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
pre{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px 14px;margin:8px 0;white-space:pre-wrap}
header{display:flex;gap:28px;align-items:center;justify-content:space-between}
header .score{flex:none;width:124px}
.score text{fill:var(--ink)}
.score .of{fill:var(--soft);font-size:11px}
.score .big{font-size:34px;font-weight:650;letter-spacing:-.02em}
.ring{fill:none;stroke:var(--grid);stroke-width:9}
.ring-met{fill:none;stroke-width:9;stroke-linecap:round}
.ring-met.met{stroke:var(--good)}.ring-met.missed{stroke:var(--bad)}.ring-met.open{stroke:var(--open)}
.warn{background:var(--open-bg);border-left:4px solid var(--open);padding:8px 14px;border-radius:0 8px 8px 0;margin:16px 0}
table{border-collapse:collapse;width:100%}
th{font-weight:500;font-size:13px;color:var(--soft);text-align:left;padding:6px 18px 6px 0;border-bottom:1px solid var(--line)}
td{padding:10px 18px 10px 0;border-bottom:1px solid var(--line);vertical-align:top}
td:last-child,th:last-child{padding-right:0}
.num{text-align:right;white-space:nowrap}
.name{font-weight:600;white-space:nowrap}
th.name{font-weight:500}
.asked{white-space:nowrap}
.badge{display:inline-block;border-radius:99px;padding:1px 10px 2px;font-size:13px;font-weight:600;white-space:nowrap}
.met .badge{color:var(--good);background:var(--good-bg)}
.missed .badge{color:var(--bad);background:var(--bad-bg)}
.open .badge{color:var(--open);background:var(--open-bg)}
ul,ol{margin:6px 0;padding-left:20px}
.todo li{margin:6px 0}
figure{margin:0 0 22px;break-inside:avoid}
figcaption{display:flex;flex-wrap:wrap;gap:2px 16px;align-items:baseline;margin-bottom:2px}
figcaption b{font-weight:600}
.key{font-size:13px;color:var(--soft);white-space:nowrap}
.key i{display:inline-block;width:14px;height:3px;border-radius:2px;margin:0 6px 4px 0;vertical-align:middle}
.key i.block{height:10px;opacity:.5;margin-bottom:1px}
svg{display:block;width:100%;height:auto}
svg text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;fill:var(--soft);font-variant-numeric:tabular-nums}
svg.narrow{display:none}
.grid{stroke:var(--grid)}.tick{stroke:var(--soft)}
.mark{stroke:var(--ink);stroke-opacity:.16;stroke-dasharray:2 3}
.span{fill-opacity:.07}
.s-ramp{fill:var(--ramp)}.s-load{fill:var(--load)}.s-rate{fill:var(--rate)}.s-drill{fill:var(--drill)}.s-harm{fill:var(--harm);fill-opacity:.2}
.lane .span{fill-opacity:.22}.lane .s-harm{fill-opacity:.6}
.lane text.on{fill:var(--ink)}
.pin circle{fill:var(--card);stroke:var(--ink);stroke-opacity:.55}
.pin text{fill:var(--ink);font-size:11px}
.pin:hover circle,.pin:focus circle{fill:var(--ink)}.pin:hover text,.pin:focus text{fill:var(--bg)}
.l{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
.l1{stroke:var(--c1)}.l2{stroke:var(--c2)}.l3{stroke:var(--c3)}.l4{stroke:var(--c4)}.l5{stroke:var(--c5)}.l6{stroke:var(--c6)}
.l7{stroke:var(--c7)}.l8{stroke:var(--c8)}
.a{fill-opacity:.13}.a1{fill:var(--c1)}.a2{fill:var(--c2)}.a3{fill:var(--c3)}.a4{fill:var(--c4)}.a5{fill:var(--c5)}.a6{fill:var(--c6)}
.a7{fill:var(--c7)}.a8{fill:var(--c8)}
.b1{background:var(--c1)}.b2{background:var(--c2)}.b3{background:var(--c3)}.b4{background:var(--c4)}.b5{background:var(--c5)}
.b6{background:var(--c6)}.b7{background:var(--c7)}.b8{background:var(--c8)}
.b-ramp{background:var(--ramp)}.b-load{background:var(--load)}.b-rate{background:var(--rate)}.b-drill{background:var(--drill)}.b-harm{background:var(--harm)}
.limit{stroke:var(--bad);stroke-dasharray:6 4}
svg .limit-t{fill:var(--bad)}
.h{fill:transparent}.h:hover{fill:var(--ink);fill-opacity:.07}
.bar-detect{fill:var(--c2)}.bar-recover{fill:var(--c1)}.bar-whole{fill:var(--c6)}
.why{display:grid;grid-template-columns:max-content max-content 1fr;gap:2px 14px;padding:0;margin:8px 0;list-style:none}
.why li{display:contents}
.why li>*{padding:5px 0;border-top:1px solid var(--grid)}
.why .n{color:var(--soft);text-align:right}
.why :target{background:var(--open-bg)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:4px 20px;margin:8px 0}
dt{color:var(--soft)}dd{margin:0}
@media (max-width:680px){
main{padding:20px 16px 48px}
header{gap:14px}header .score{width:96px}
h1{font-size:21px}
svg.wide{display:none}svg.narrow{display:block}
.verdicts thead{display:none}
.verdicts tr{display:grid;grid-template-columns:1fr max-content;gap:0 12px;padding:10px 0;border-bottom:1px solid var(--line)}
.verdicts td{border:0;padding:1px 0}
.verdicts td.name{order:1}.verdicts td.word{order:2}.verdicts td.asked{order:3;color:var(--soft)}.verdicts td.weight{order:4}
.verdicts td.seen{order:5;grid-column:1/3}
.name,.asked{white-space:normal}
.side{overflow-x:auto}
.side .name{white-space:nowrap;position:sticky;left:0;background:var(--bg)}
.key{white-space:normal}
.why{grid-template-columns:max-content 1fr}.why .by{display:none}
.why.dated{grid-template-columns:max-content max-content 1fr;gap:2px 10px}.why.dated .by{display:block}
dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:8px}
}
@media print{
:root{color-scheme:light;--bg:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#bbb;--grid:#ddd;--good:#0a6b3d;--bad:#a92a08;--open:#6d4c00;
--good-bg:#fff;--bad-bg:#fff;--open-bg:#fff;--c1:#2563c9;--c2:#b86200;--c3:#8b3fb0;--c4:#0d7f63;--c5:#c93a73;--c6:#4a8fb5}
body{font-size:11pt}main{max-width:none;padding:0}
h2{break-after:avoid}tr,.drill{break-inside:avoid}
.h{display:none}
}
""".strip()
