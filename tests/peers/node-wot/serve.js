// A thing that the W3C's reference implementation serves over HTTP: node serve.js PORT
// Run with NODE_PATH set to a node_modules folder that holds @node-wot/core and @node-wot/binding-http.
"use strict";

const { Servient } = require("@node-wot/core");
const { HttpServer } = require("@node-wot/binding-http");

async function main() {
  const port = Number(process.argv[2]);
  const servient = new Servient();
  servient.addServer(new HttpServer({ port, address: "127.0.0.1", baseUri: `http://127.0.0.1:${port}` }));
  const wot = await servient.start();
  const thing = await wot.produce({
    title: "counter",
    properties: {
      count: { type: "number", readOnly: false, observable: true },
      temperature: { type: "number", unit: "Cel", readOnly: true },
    },
    actions: { increment: { output: { type: "number" } } },
  });
  let count = 0;
  thing.setPropertyReadHandler("count", async () => count);
  thing.setPropertyWriteHandler("count", async (input) => { count = await input.value(); });
  thing.setPropertyReadHandler("temperature", async () => 21.5);
  thing.setActionHandler("increment", async () => ++count);
  await thing.expose();
  console.log("ready");
}

main();
