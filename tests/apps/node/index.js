// A page by Express; it says which version it is and what the platform told it.
const express = require("express");
const app = express();

app.get("/", (request, response) => {
  response.type("text/plain").send("Hello from Express, version one\n");
});
app.get("/headers", (request, response) => response.json(request.headers));

// The router keeps idle connections for up to 90 s; an app has to keep them longer.
const server = app.listen(process.env.PORT, () => {
  console.log(`listening on ${process.env.PORT}`);
});
server.keepAliveTimeout = 95 * 1000;

process.on("SIGTERM", () => server.close(() => process.exit(0)));
