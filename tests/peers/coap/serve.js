// A CoAP device that npm's coap makes: node serve.js PORT [GROUP]
// It has a level that is observed and written, and a document that takes several blocks.
"use strict";

const coap = require("coap");

const [port, group] = process.argv.slice(2);
const server = coap.createServer(group ? { multicastAddress: group, multicastInterface: "127.0.0.1" } : {});
const list = '</level>;rt="level";title="Level";ct=50;obs,</document>;title="Document";ct=50';
let level = 1.5;
const document = { words: Array.from({ length: 400 }, (_, at) => `w${at}`) };
const observers = new Set();

const json = (response, value) => {
  response.setOption("Content-Format", "application/json");
  return JSON.stringify(value);
};

server.on("request", (request, response) => {
  const path = request.url.split("?")[0];
  if (path === "/.well-known/core") {
    response.setOption("Content-Format", "application/link-format");
    response.end(list);
  } else if (path === "/level" && request.method === "GET") {
    if (request.headers.Observe === 0) {
      observers.add(response);
      response.on("finish", () => observers.delete(response));
      response.write(json(response, level));
    } else {
      response.end(json(response, level));
    }
  } else if (path === "/document" && request.method === "GET") {
    response.end(json(response, document));
  } else if (path === "/level" && request.method === "PUT") {
    level = JSON.parse(request.payload);
    for (const one of observers) one.write(json(one, level));
    response.code = "2.04";
    response.end();
  } else {
    response.code = "4.04";
    response.end("there is no such thing");
  }
});

server.listen(Number(port), () => console.log("ready"));
