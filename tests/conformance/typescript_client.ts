/**
 * Makes calls with a client that openapi-generator has made for typescript-fetch; a program for
 * test_openapi_generator.py, compiled together with the client.
 *
 * Arguments: the URL of the server, and a file with the calls as JSON, a list of [operation, body]. Prints the outcomes.
 */
import { readFileSync } from 'fs';
import * as client from './index';

type Method = (parameters: object) => Promise<{ raw: Response; value(): Promise<unknown> }>;
type Problem = { response: Response };

const [base, path] = process.argv.slice(2);
const configuration = new client.Configuration({ basePath: base });

/** The methods that return whole responses, by lower-case name without underscores. */
function operations(): Map<string, Method> {
    const found = new Map<string, Method>();
    for (const [name, one] of Object.entries(client)) {
        if (!name.endsWith('Api')) continue;
        const api = new (one as new (configuration: client.Configuration) => any)(configuration);
        const names = new Set(Object.getOwnPropertyNames(Object.getPrototypeOf(api)));
        for (const method of names) {
            if (names.has(`${method}Raw`)) found.set(method.toLowerCase(), api[`${method}Raw`].bind(api));
        }
    }
    return found;
}

/** The body as the client has it: FromJSON of its class, named after the operation. */
function given(name: string, body: unknown): object {
    const inside = name === 'callJsonRpc' ? 'RPCCall' : `${name[0].toUpperCase()}${name.slice(1)}Input`;
    const read = (client as any)[`${inside}FromJSON`];
    const key = inside === 'RPCCall' ? 'rPCCall' : read ? `${name}Input` : 'body';
    return { [key]: read ? read(body) : body };
}

async function call(methods: Map<string, Method>, operation: string, body: unknown): Promise<object> {
    const name = operation.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
    const method = methods.get(name.toLowerCase());
    if (!method) throw new Error(`there is no method for ${operation}`);
    try {
        const response = await method(given(name, body));
        return { result: await response.value() };
    } catch (error) {
        if (!(error as Problem).response) throw error;
        return { problem: await (error as Problem).response.json() };
    }
}

async function main(): Promise<void> {
    const methods = operations();
    const calls = [];
    for (const [operation, body] of JSON.parse(readFileSync(path, 'utf-8'))) calls.push(await call(methods, operation, body));
    const described: { [name: string]: unknown } = {};
    for (const [name, method] of methods) {
        if (name.startsWith('describe')) described[name] = await (await method({})).value();
    }
    console.log(JSON.stringify({ calls, described }));
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
