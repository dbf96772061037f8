// node-opcua's client against our server: node client.js URL FOLDER USER PASSWORD
// Browses, reads, subscribes, writes and calls; prints what it found as one line of JSON.
const {
  OPCUAClient, MessageSecurityMode, SecurityPolicy, UserTokenType, AttributeIds, DataType, TimestampsToReturn,
  ClientMonitoredItem, ClientSubscription, Variant,
} = require("node-opcua-client");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");
const path = require("path");

async function main() {
  const [url, folder, userName, password] = process.argv.slice(2);
  const clientCertificateManager = new OPCUACertificateManager({
    rootFolder: path.join(folder, "pki"), automaticallyAcceptUnknownCertificate: true,
  });
  await clientCertificateManager.initialize();
  const client = OPCUAClient.create({
    endpointMustExist: false,
    connectionStrategy: { maxRetry: 1 },
    securityMode: MessageSecurityMode.SignAndEncrypt,
    securityPolicy: SecurityPolicy.Basic256Sha256,
    clientCertificateManager,
  });
  await client.connect(url);
  const session = await client.createSession({ type: UserTokenType.UserName, userName, password });
  const found = {};
  const names = (await session.readNamespaceArray()).indexOf("urn:taihu:things");
  const node = (identifier) => `ns=${names};s=${identifier}`;
  const below = async (place) =>
    (await session.browse(place)).references.map((one) => one.browseName.name).sort();
  found.objects = await below("ObjectsFolder");
  found.things = await below(node("roof"));
  found.members = await below(node("roof/Boiler"));
  const temperature = await session.read({ nodeId: node("roof/Boiler/Temperature"), attributeId: AttributeIds.Value });
  found.temperature = [temperature.value.value, temperature.statusCode.name, temperature.sourceTimestamp !== null];
  const range = await session.read({ nodeId: node("roof/Boiler/Temperature/range") });
  found.range = [range.value.value.low, range.value.value.high];
  const unit = await session.read({ nodeId: node("roof/Boiler/Temperature/unit") });
  found.unit = [unit.value.value.unitId, unit.value.value.displayName.text];
  const hidden = await session.read({ nodeId: node("secret/safe/code") });
  found.hidden = hidden.statusCode.name;

  const subscription = await session.createSubscription2({
    requestedPublishingInterval: 100, requestedLifetimeCount: 1000, requestedMaxKeepAliveCount: 10,
    publishingEnabled: true, maxNotificationsPerPublish: 100,
  });
  const seen = [];
  const item = ClientMonitoredItem.create(
    subscription, { nodeId: node("roof/Boiler/Setpoint"), attributeId: AttributeIds.Value },
    { samplingInterval: 100, queueSize: 10, discardOldest: true }, TimestampsToReturn.Both);
  item.on("changed", (value) => seen.push(value.value.value));
  const wrote = await session.write({
    nodeId: node("roof/Boiler/Setpoint"), attributeId: AttributeIds.Value,
    value: { value: { dataType: DataType.Double, value: 81.5 } },
  });
  found.wrote = wrote.name;
  const fixed = await session.write({
    nodeId: node("roof/Boiler/Temperature"), attributeId: AttributeIds.Value,
    value: { value: { dataType: DataType.Double, value: 1 } },
  });
  found.fixed = fixed.name;
  const called = await session.call({
    objectId: node("roof/Boiler"), methodId: node("roof/Boiler/Add()"),
    inputArguments: [1.5, 2].map((value) => new Variant({ dataType: DataType.Double, value })),
  });
  found.called = [called.statusCode.name, called.outputArguments[0].value];
  const refused = await session.call({ objectId: node("roof/Boiler"), methodId: node("roof/Boiler/Refuse()") });
  found.refused = refused.statusCode.name;
  for (let waited = 0; waited < 100 && !seen.includes(81.5); waited += 1) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  found.seen = seen.includes(81.5);
  await subscription.terminate();
  await session.close();
  await client.disconnect();
  console.log(JSON.stringify(found));
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
