// A consumer of one thing over MQTT alone, told by lines of JSON on stdin what to do; it answers in the same way.
// Run with NODE_PATH set to a node_modules folder that holds @node-wot/core and @node-wot/binding-mqtt.

const readline = require("readline");
const { Servient } = require("@node-wot/core");
const { MqttClientFactory } = require("@node-wot/binding-mqtt");

const [address, id, token] = process.argv.slice(2);
const say = (message) => console.log(JSON.stringify(message));

async function main() {
    const servient = new Servient();
    servient.addClientFactory(new MqttClientFactory());
    const credentials = { username: token, password: "" };
    servient.addCredentials({ [id]: credentials });
    // For a form with security of its own, 0.8.16 gives the MQTT binding the list of credentials as if it were one.
    Object.assign(servient.retrieveCredentials(id), credentials);
    const wot = await servient.start();
    let thing;

    const commands = {
        consume: async () => {
            const answer = await fetch(address, { headers: { Authorization: `Bearer ${token}` } });
            thing = await wot.consume(await answer.json());
            return Object.keys(thing.getThingDescription().actions);
        },
        write: async ([name, value]) => (await thing.writeProperty(name, value)) ?? "written",
        invoke: async ([name, input]) => (await thing.invokeAction(name, input)) && "invoked",
        subscribe: async (name) => {
            await thing.subscribeEvent(name, async (output) => say({ told: name, value: await output.value() }));
            return "subscribed";
        },
    };

    for await (const line of readline.createInterface({ input: process.stdin })) {
        const [command, argument] = JSON.parse(line);
        try {
            say({ answer: (await commands[command](argument)) ?? null });
        } catch (error) {
            say({ failed: String(error) });
        }
    }
    process.exit(0);
}

main();
