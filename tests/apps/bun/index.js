// A page; it says which version it is. The colour comes from a package.
const http = require("http");
const colors = require("picocolors");

const server = http.createServer((request, response) => {
  const body = `Hello from ${colors.createColors(false).bold("Bun")}, version one\n`;
  response.writeHead(200, { "Content-Type": "text/plain" }).end(body);
});
server.keepAliveTimeout = 95 * 1000;
server.listen(process.env.PORT, "127.0.0.1");

process.on("SIGTERM", () => server.close(() => process.exit(0)));
