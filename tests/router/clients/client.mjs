// Asks by Node's http, http2 and fetch; prints [name, fault or null] for each case.
import http from "node:http";
import https from "node:https";
import http2 from "node:http2";
import { setTimeout as later } from "node:timers/promises";

const [host, port] = process.argv[2].split(":");
const tls = process.argv[3] === "tls";
const web = tls ? https : http;
const base = `${tls ? "https" : "http"}://${host}:${port}`;
const same = (is, wanted) => { const [a, b] = [JSON.stringify(is), JSON.stringify(wanted)]; if (a !== b) throw new Error(`${a?.slice(0, 300)}, not ${b?.slice(0, 300)}`); };
const test = async (name, run) => {
  const stop = new AbortController();
  const limit = later(15000, null, { signal: stop.signal }).then(() => { throw new Error("nothing within 15 s"); });
  try { await Promise.race([run(), limit]); console.log(JSON.stringify([name, null])); }
  catch (e) { console.log(JSON.stringify([name, String(e.stack || e)])); }
  finally { stop.abort(); limit.catch(() => {}); }
};
const all = async (stream) => { const parts = []; for await (const p of stream) parts.push(p); return Buffer.concat(parts); };

const agent = new web.Agent({ keepAlive: true, maxSockets: 4 });
const ask = (path, { method = "GET", headers = {}, body, pieces, onInfo } = {}) => new Promise((yes, no) => {
  const r = web.request({ host, port, path, method, agent, headers: { host: "app.test", ...headers } });
  r.on("error", no);
  r.on("information", (i) => onInfo?.(i.statusCode));
  r.on("response", async (a) => { try { const b = await all(a); yes({ status: a.statusCode, headers: a.headers, trailers: a.trailers, body: b, reused: r.reusedSocket }); } catch (e) { no(e); } });
  if (headers.expect) { r.flushHeaders(); r.on("continue", () => r.end(body)); return; }
  if (pieces) { for (const p of pieces) r.write(p); r.end(); } else r.end(body);
});

await test("http: GET", async () => same(String((await ask("/hello")).body), "hello"));
await test("http: the connection is kept", async () => { await ask("/hello"); same((await ask("/hello")).reused, true); });
await test("http: HEAD", async () => { const a = await ask("/hello", { method: "HEAD" }); same([a.headers["content-length"], a.body.length], ["5", 0]); });
await test("http: 204 and 304, then another", async () => { for (const s of [204, 304, 200]) same((await ask(s === 200 ? "/hello" : `/status/${s}`)).status, s); });
await test("http: upload with a length", async () => same(JSON.parse((await ask("/digest", { method: "POST", body: Buffer.alloc(2e6) })).body).size, 2e6));
await test("http: upload in chunks", async () => same(JSON.parse((await ask("/digest", { method: "POST", pieces: Array(100).fill(Buffer.alloc(1000)) })).body).size, 1e5));
await test("http: Expect: 100-continue", async () => same(JSON.parse((await ask("/digest", { method: "POST", headers: { expect: "100-continue", "content-length": 5 }, body: "hello" })).body).size, 5));
await test("http: trailers of a request", () => new Promise((yes, no) => {
  const r = web.request({ host, port, path: "/digest", method: "POST", headers: { host: "app.test", trailer: "x-sum", "transfer-encoding": "chunked" } }, async (a) => { try { same([a.statusCode, JSON.parse(await all(a)).size], [200, 3]); yes(); } catch (e) { no(e); } });
  r.on("error", no); r.write("abc"); r.addTrailers({ "x-sum": "1" }); r.end();
}));
await test("http: 3 MB", async () => same((await ask("/data")).body.length, 3145728));
await test("http: 500 over 4 connections", async () => same((await Promise.all([...Array(500)].map(() => ask("/hello")))).every((a) => String(a.body) === "hello"), true));
await test("http: two cookies", async () => same((await ask("/cookies")).headers["set-cookie"].length, 2));
await test("http: destroyed in the middle, others are served", async () => {
  await new Promise((yes) => { const r = web.get({ host, port, path: "/data", headers: { host: "app.test" } }, (a) => a.once("data", () => { r.destroy(); yes(); })); r.on("error", () => {}); });
  same((await ask("/hello")).status, 200);
});
await test("http: upgrade to a WebSocket", () => new Promise((yes, no) => {
  const r = web.get({ host, port, path: "/ws", headers: { host: "app.test", connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==" } });
  r.on("error", no); r.on("response", (a) => no(new Error(`answered ${a.statusCode}`)));
  r.on("upgrade", (a, socket) => { try { same(a.headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="); socket.destroy(); yes(); } catch (e) { no(e); } });
}));
agent.destroy();

await test("fetch: GET", async () => same(await (await fetch(`${base}/hello`)).text(), "hello"));
await test("fetch: compressed text", async () => same((await (await fetch(`${base}/text`)).text()).split("\n").length, 2001));
await test("fetch: upload as a stream", async () => {
  const body = new ReadableStream({ start(c) { for (let i = 0; i < 50; i++) c.enqueue(new Uint8Array(1000)); c.close(); } });
  same((await (await fetch(`${base}/digest`, { method: "POST", body, duplex: "half" })).json()).size, 50000);
});
await test("fetch: echo as a stream", async () => same((await (await fetch(`${base}/echo`, { method: "POST", body: new Uint8Array(1e6) })).arrayBuffer()).byteLength, 1e6));
await test("fetch: redirect", async () => same(await (await fetch(`${base}/status/302`)).text(), "hello"));
await test("fetch: 200 at once", async () => same((await Promise.all([...Array(200)].map(async () => (await fetch(`${base}/hello`)).text()))).every((t) => t === "hello"), true));
await test("fetch: aborted, others are served", async () => {
  const stop = new AbortController(); const a = await fetch(`${base}/data`, { signal: stop.signal }); stop.abort();
  await a.arrayBuffer().catch(() => {}); same((await fetch(`${base}/hello`)).status, 200);
});
await test("fetch: events as they are sent", async () => {
  const reader = (await fetch(`${base}/events?wait=n`)).body.getReader(); let text = "";
  for (let n = 0; n < 5; n++) {
    while (!text.includes(`event ${n}\n`)) {
      const { done, value } = await reader.read();
      if (done) throw new Error(`it ended after ${text}`);
      text += new TextDecoder().decode(value);
    }
    await fetch(`${base}/ack?wait=n`);
  }
});

const session = http2.connect(base);
session.on("error", () => {});
const h2 = (path, headers = {}, body, trailers) => new Promise((yes, no) => {
  const s = session.request({ ":path": path, ":authority": "app.test", ...headers }, { waitForTrailers: !!trailers, endStream: body === undefined });
  let got; s.on("response", (h) => { got = h; }); s.on("error", no);
  if (trailers) s.on("wantTrailers", () => s.sendTrailers(trailers));
  all(s).then((b) => yes({ status: got[":status"], headers: got, body: b }), no);
  if (body !== undefined) s.end(body);
});
await test("http2: GET", async () => same(String((await h2("/hello")).body), "hello"));
await test("http2: HEAD", async () => same((await h2("/hello", { ":method": "HEAD" })).body.length, 0));
await test("http2: upload of 2 MB", async () => same(JSON.parse((await h2("/digest", { ":method": "POST" }, Buffer.alloc(2e6))).body).size, 2e6));
await test("http2: trailers of a request", async () => same(JSON.parse((await h2("/digest", { ":method": "POST" }, Buffer.from("abc"), { "x-sum": "1" })).body).size, 3));
await test("http2: 3 MB", async () => same((await h2("/data")).body.length, 3145728));
await test("http2: 500 at once", async () => same((await Promise.all([...Array(500)].map(() => h2("/hello")))).every((a) => String(a.body) === "hello"), true));
await test("http2: a stream that is cancelled", async () => {
  const s = session.request({ ":path": "/data", ":authority": "app.test" }); await new Promise((yes) => s.once("data", yes)); s.close(http2.constants.NGHTTP2_CANCEL);
  same((await h2("/hello")).status, 200);
});
await test("http2: ping", () => new Promise((yes, no) => session.ping((e) => (e ? no(e) : yes()))));
session.close();
