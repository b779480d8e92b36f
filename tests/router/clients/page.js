// Runs in the browser; tells the app what came of each case.
const found = [];
const cases = [];
const test = (name, run) => cases.push([name, run]);
const same = (is, wanted) => { if (JSON.stringify(is) !== JSON.stringify(wanted)) throw new Error(`${JSON.stringify(is)?.slice(0, 200)}, not ${JSON.stringify(wanted)?.slice(0, 200)}`); };
const within = (promise, ms) => Promise.race([promise, new Promise((_, no) => setTimeout(() => no(new Error(`nothing within ${ms} ms`)), ms))]);
const scheme = location.protocol === "https:" ? "wss" : "ws";
const ws = () => new WebSocket(`${scheme}://${location.host}/ws`);
const opened = (s) => new Promise((yes, no) => { s.binaryType = "arraybuffer"; s.onopen = () => yes(s); s.onerror = () => no(new Error("no WebSocket")); });
const next = (s) => new Promise((yes, no) => { s.onmessage = (e) => yes(e.data); s.onclose = (e) => no(new Error(`closed ${e.code}`)); });

test("the style sheet counts", async () => same(getComputedStyle(document.getElementById("styled")).color, "rgb(1, 2, 3)"));
test("text came compressed", async () => {
  const answer = await fetch("/text");
  same((await answer.text()).split("\n").length, 2001);
  const entry = performance.getEntriesByType("resource").filter((e) => e.name.endsWith("/text"))[0];
  if (entry.encodedBodySize >= entry.decodedBodySize) throw new Error(`${entry.encodedBodySize} bytes for ${entry.decodedBodySize}`);
});
test("3 MB of bytes", async () => same((await (await fetch("/data")).arrayBuffer()).byteLength, 3145728));
test("a range", async () => { const a = await fetch("/data", { headers: { Range: "bytes=5-14" } }); same([a.status, (await a.arrayBuffer()).byteLength], [206, 10]); });
test("from the cache by ETag", async () => { await (await fetch("/text")).text(); same((await (await fetch("/text", { cache: "no-cache" })).text()).length > 1000, true); });
test("upload of 5 MB", async () => same((await (await fetch("/digest", { method: "POST", body: new Uint8Array(5000000) })).json()).size, 5000000));
test("upload of a form with a file", async () => {
  const form = new FormData();
  form.append("file", new Blob([new Uint8Array(100000)]), "a.bin");
  same((await (await fetch("/digest", { method: "POST", body: form })).json()).size > 100000, true);
});
test("echo as a stream", async () => {
  const reader = (await fetch("/chunks?n=50")).body.getReader();
  let text = "";
  for (;;) { const { done, value } = await reader.read(); if (done) break; text += new TextDecoder().decode(value); }
  same(text.split("\n").length, 51);
});
test("redirect", async () => { const a = await fetch("/status/302"); same([a.redirected, await a.text()], [true, "hello"]); });
test("404, 204, 500", async () => { for (const s of [404, 204, 500]) same((await fetch(`/status/${s}`)).status, s); });
test("HEAD", async () => { const a = await fetch("/hello", { method: "HEAD" }); same([a.status, await a.text()], [200, ""]); });
test("PUT, PATCH, DELETE", async () => { for (const method of ["PUT", "PATCH", "DELETE"]) same((await (await fetch("/head", { method })).json()).method, method); });
test("two cookies", async () => { await fetch("/cookies"); same(document.cookie.split("; ").sort(), ["a=1", "b=2"]); });
test("50 requests at once", async () => same((await Promise.all([...Array(50)].map(async () => (await fetch("/hello", { cache: "no-store" })).text()))).every((t) => t === "hello"), true));
test("an answer that is aborted", async () => {
  const stop = new AbortController();
  const asked = fetch("/events?wait=b", { signal: stop.signal });
  await asked; stop.abort();
  same(await (await fetch("/hello", { cache: "no-store" })).text(), "hello");
});
test("EventSource, each event as it is sent", () => new Promise((yes, no) => {
  const source = new EventSource("/events?wait=a"); let n = 0;
  source.onmessage = (e) => {
    if (e.data !== `event ${n}`) no(new Error(e.data));
    if (++n === 5) { source.close(); yes(); }
    fetch("/ack?wait=a", { method: "POST" });
  };
}));
test("WebSocket: text, bytes, 1 MB", async () => {
  const s = await opened(ws());
  for (const m of ["hi ä", "x".repeat(1000000)]) { const n = next(s); s.send(m); same(await n, m); }
  const n = next(s); s.send(new Uint8Array([1, 2, 3])); same([...new Uint8Array(await n)], [1, 2, 3]);
  same(s.extensions.includes("permessage-deflate"), true);
  const closed = new Promise((yes) => { s.onclose = yes; }); s.close(1000); same((await closed).wasClean, true);
});
test("WebSocket: subprotocol", async () => { const s = await opened(new WebSocket(`${scheme}://${location.host}/ws`, ["chat"])); same(s.protocol, "chat"); s.close(); });
test("WebSocket where there is none", () => new Promise((yes, no) => { const s = new WebSocket(`${scheme}://${location.host}/hello`); s.onerror = yes; s.onopen = () => no(new Error("opened")); }));

(async () => {
  for (const [name, run] of cases) {
    try { await within(run(), 15000); found.push([name, null]); } catch (e) { found.push([name, String(e.message || e)]); }
  }
  await fetch("/report", { method: "POST", body: JSON.stringify(found) });
})();
