// An edge node for the tests: Eclipse Tahu's sparkplug-client. `node edge.js PORT`.
const port = process.argv[2]
const now = () => Date.now()
let setpoint = 5.5
const motor = { name: "motor", type: "Template", value: {
  isDefinition: false, templateRef: "Motor",
  metrics: [{ name: "rpm", type: "Int32", value: -1450, timestamp: now() }], parameters: [] } }
const metrics = () => [
  { name: "Line/Speed", alias: 11, type: "Int32", value: -42, timestamp: now(),
    properties: { engUnit: { type: "String", value: "m/s" }, readOnly: { type: "Boolean", value: true } } },
  { name: "setpoint", alias: 12, type: "Double", value: setpoint, timestamp: now(),
    properties: { engUnit: { type: "String", value: "kWh" } } },
  { name: "running", alias: 13, type: "Boolean", value: true, timestamp: now() },
  { name: "bad", alias: 14, type: "Double", value: 1.5, timestamp: now(),
    properties: { Quality: { type: "Int32", value: 0 } } },
  { name: "counter", alias: 15, type: "UInt64", value: 1234567890123, timestamp: now() },
  { name: "nothing", alias: 16, type: "Double", value: null, timestamp: now() },
  motor,
]
const client = require("sparkplug-client").newClient({
  serverUrl: `tcp://127.0.0.1:${port}`, username: "", password: "", groupId: "plant", edgeNode: "line",
  clientId: "edge-" + port, version: "spBv1.0", keepalive: 60 })
const birth = () => {
  client.publishNodeBirth({ timestamp: now(), metrics: [
    { name: "Node Control/Rebirth", type: "Boolean", value: false, timestamp: now() },
    { name: "load", type: "Float", value: 0.25, timestamp: now() }] })
  client.publishDeviceBirth("pump", { timestamp: now(), metrics: metrics() })
}
client.on("birth", () => {
  birth()
  setTimeout(() => console.log("ready"), 50) // they have left: nobody who comes later hears this birth and another
})
client.on("ncmd", payload => { if (payload.metrics[0].name === "Node Control/Rebirth") birth() })
client.on("dcmd", (device, payload) => {
  for (const metric of payload.metrics) {
    const alias = metric.alias === undefined ? null : Number(metric.alias)
    if (alias === 12 || metric.name === "setpoint") {
      setpoint = metric.value
      if (setpoint !== 13) // the value it keeps to itself
        client.publishDeviceData("pump", { timestamp: now(), metrics: [
          { name: "setpoint", alias: 12, type: "Double", value: setpoint, timestamp: now() }] })
    }
  }
})
require("readline").createInterface({ input: process.stdin }).on("line", line => {
  if (line === "burst") for (let value = 1; value <= 200; value++)
    client.publishDeviceData("pump", { timestamp: now(), metrics: [
      { name: "Line/Speed", alias: 11, type: "Int32", value, timestamp: 1700000000000 + value }] })
  if (line === "die") client.publishDeviceDeath("pump", { timestamp: now(), metrics: [] })
  if (line === "more") client.publishDeviceData("pump", { timestamp: now(), metrics: [
    { name: "Line/Speed", alias: 11, type: "Int32", value: -43, timestamp: now() }] })
})
