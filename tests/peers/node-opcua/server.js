// node-opcua's server with a press, as a device: node server.js PORT FOLDER [RATE]
// Prints "ready" when it serves. With a RATE it has 1,000 numbers and changes so many of them a second.
const { OPCUAServer } = require("node-opcua-server");
const { DataType, Variant, VariantArrayType, StatusCodes } = require("node-opcua-client");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");
const { standardUnits } = require("node-opcua-data-access");
const path = require("path");

async function main() {
  const [port, folder, rate] = [Number(process.argv[2]), process.argv[3], Number(process.argv[4] || 0)];
  const certificates = new OPCUACertificateManager({
    rootFolder: path.join(folder, "pki"), automaticallyAcceptUnknownCertificate: true,
  });
  const server = new OPCUAServer({
    port,
    resourcePath: "/press",
    serverCertificateManager: certificates,
    allowAnonymous: true,
    userManager: { isValidUser: (user, password) => user === "engineer" && password === "tai hu 36000" },
  });
  await server.initialize();
  const space = server.engine.addressSpace;
  const own = space.getOwnNamespace();
  const press = own.addObject({ browseName: "Press", organizedBy: space.rootFolder.objects, eventNotifier: 1 });
  const number = (name, value, more) =>
    own.addVariable({
      componentOf: press, browseName: name, nodeId: `s=${name}`, dataType: DataType.Double,
      value: new Variant({ dataType: DataType.Double, value }), ...more,
    });
  number("Speed", 12.5);
  own.addAnalogDataItem({
    componentOf: press, browseName: "Pressure", nodeId: "s=Pressure", dataType: "Double",
    engineeringUnitsRange: { low: 0, high: 400 }, instrumentRange: { low: -10, high: 500 },
    engineeringUnits: standardUnits.bar, value: new Variant({ dataType: DataType.Double, value: 210.5 }),
  });
  own.addMultiStateDiscrete({
    componentOf: press, browseName: "State", nodeId: "s=State", enumStrings: ["stopped", "running"], value: 1,
  });
  own.addVariable({
    componentOf: press, browseName: "Order", nodeId: "s=Order", dataType: DataType.String,
    value: new Variant({ dataType: DataType.String, value: "A-36" }),
  });
  number("Fixed", 1, { accessLevel: "CurrentRead", userAccessLevel: "CurrentRead" });
  const halve = own.addMethod(press, {
    browseName: "Halve",
    inputArguments: [{ name: "number", dataType: DataType.Double }],
    outputArguments: [{ name: "half", dataType: DataType.Double }],
  });
  halve.bindMethod((inputs, context, done) =>
    done(null, {
      statusCode: StatusCodes.Good,
      outputArguments: [new Variant({ dataType: DataType.Double, value: inputs[0].value / 2 })],
    }));
  const ticks = number("Ticks", 0);
  let count = 0;
  const step = setInterval(() => {
    ticks.setValueFromSource({ dataType: DataType.Double, value: ++count });
    press.raiseEvent("BaseEventType", {
      message: { dataType: DataType.LocalizedText, value: { text: `tick ${count}` } },
      severity: { dataType: DataType.UInt16, value: 300 },
    });
  }, 100);
  step.unref();
  await server.start();
  console.log("ready");
}

main().catch((error) => { console.error(error); process.exit(1); });
