// A consumer of one thing or one directory, told by lines of JSON on stdin what to do; it answers in the same way.
// Run with NODE_PATH set to a node_modules folder that holds @node-wot/core and @node-wot/binding-http.

const readline = require("readline");
const { Servient } = require("@node-wot/core");
const { HttpClientFactory } = require("@node-wot/binding-http");

const [address, id, token] = process.argv.slice(2);
const say = (message) => console.log(JSON.stringify(message));

async function main() {
    const servient = new Servient();
    servient.addClientFactory(new HttpClientFactory());
    servient.addCredentials({ [id]: { token } });
    const wot = await servient.start();
    const headers = { Authorization: `Bearer ${token}` };
    let thing;

    const ticket = async () => {
        const origin = new URL(address).origin;
        const answer = await fetch(`${origin}/api/v1/tickets`, { method: "POST", headers });
        return { uriVariables: { ticket: (await answer.json()).ticket } };
    };
    const values = async (outputs) => {
        const found = {};
        for (const [name, output] of outputs) found[name] = await output.value();
        return found;
    };
    const streams = new Map();
    const follow = (name) => [
        async (output) => say({ told: name, value: await output.value() }),
        (error) => say({ ended: name, error: String(error) }),
    ];

    const commands = {
        consume: async () => {
            thing = await wot.consume(await (await fetch(address, { headers })).json());
            return Object.keys(thing.getThingDescription().properties);
        },
        read: async (name) => (await thing.readProperty(name)).value(),
        readAll: async () => values(await thing.readAllProperties()),
        readSome: async (names) => values(await thing.readMultipleProperties(names)),
        write: async ([name, value]) => (await thing.writeProperty(name, value)) ?? "written",
        writeSome: async (wanted) => (await thing.writeMultipleProperties(new Map(Object.entries(wanted)))) ?? "written",
        invoke: async ([name, input]) => (await thing.invokeAction(name, input))?.value(),
        observe: async (name) => {
            const options = await ticket();
            streams.set(name, [await thing.observeProperty(name, ...follow(name), options), options]);
            return "observing";
        },
        subscribe: async (name) => {
            const options = await ticket();
            streams.set(name, [await thing.subscribeEvent(name, ...follow(name), options), options]);
            return "subscribed";
        },
        stop: async (name) => {
            const [stream, options] = streams.get(name); // it finds the stream by its whole address, ticket and all
            return (await stream.stop(options)) ?? "stopped";
        },
        introduce: async () => {
            // Not exploreDirectory: it checks descriptions by the schema of version 1.0, and passes over those of 1.1.
            thing = await wot.consume(await (await fetch(address)).json());
            return (await (await thing.readProperty("things")).value()).map((description) => description.title);
        },
    };

    for await (const line of readline.createInterface({ input: process.stdin })) {
        const [command, argument] = JSON.parse(line);
        try {
            say({ answer: await commands[command](argument) });
        } catch (error) {
            say({ failed: String(error) });
        }
    }
    await servient.shutdown();
    process.exit(0);
}

main();
