// A BACnet device that node-bacnet makes: node serve.js PORT
// It has one analog value that takes subscriptions and commands, and reads no several properties at once.
"use strict";

const Bacnet = require("node-bacnet");
const { ApplicationTag: Tag, ConfirmedServiceChoice: Service, ErrorClass, ErrorCode, ObjectType, PropertyIdentifier: Id } = Bacnet.enum;

const device = { type: ObjectType.DEVICE, instance: 77 };
const setpoint = { type: ObjectType.ANALOG_VALUE, instance: 3 };
const client = new Bacnet({ port: Number(process.argv[2]), interface: "127.0.0.1" });
const same = (one, other) => one.type === other.type && one.instance === other.instance;
let value = 20;
let told = null;

const real = (number) => [{ type: Tag.REAL, value: number }];
const text = (words) => [{ type: Tag.CHARACTER_STRING, value: words }];
const reads = {
  [Id.OBJECT_IDENTIFIER]: () => [{ type: Tag.OBJECTIDENTIFIER, value: device }],
  [Id.OBJECT_LIST]: () => [device, setpoint].map((one) => ({ type: Tag.OBJECTIDENTIFIER, value: one })),
  [Id.OBJECT_NAME]: (object) => text(same(object, setpoint) ? "setpoint" : "from node"),
  [Id.UNITS]: () => [{ type: Tag.ENUMERATED, value: 62 }],
  [Id.PRIORITY_ARRAY]: () => Array(16).fill({ type: Tag.NULL }),
  [Id.PRESENT_VALUE]: () => real(value),
};

function notify() {
  if (told === null) return;
  const values = [{ property: { id: Id.PRESENT_VALUE }, value: real(value) }];
  client.unconfirmedCOVNotification(told.address, told.process, device.instance, setpoint, 60, values);
}

client.on("readProperty", ({ header, invokeId, payload }) => {
  const read = reads[payload.property.id];
  const known = same(payload.objectId, setpoint) || payload.objectId.type === ObjectType.DEVICE;
  if (known && read) {
    client.readPropertyResponse(header.sender, invokeId, payload.objectId, payload.property, read(payload.objectId));
  } else {
    const [kind, code] = [ErrorClass.PROPERTY, ErrorCode.UNKNOWN_PROPERTY];
    client.errorResponse(header.sender, Service.READ_PROPERTY, invokeId, kind, code);
  }
});
client.on("subscribeCov", ({ header, invokeId, payload }) => {
  told = { address: header.sender.address, process: payload.subscriberProcessId };
  client.simpleAckResponse(header.sender, Service.SUBSCRIBE_COV, invokeId);
  notify();
});
client.on("writeProperty", ({ header, invokeId, payload }) => {
  value = payload.value.value[0].value;
  client.simpleAckResponse(header.sender, Service.WRITE_PROPERTY, invokeId);
  notify();
});
client.on("listening", () => console.log("ready"));
client.on("error", () => {});
