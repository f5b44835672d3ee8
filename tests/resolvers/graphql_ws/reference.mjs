// The reference server of graphql-transport-ws, with the subscriptions of tests/resolvers/serving.py.
import { buildSchema } from "graphql";
import { useServer } from "graphql-ws/use/ws";
import { WebSocketServer } from "ws";

const schema = buildSchema(`
  type Query { hello: String! }
  type Subscription { count(to: Int!): Int! silent: Int! }
`);

const roots = {
  query: { hello: () => "world" },
  subscription: {
    async *count({ to }) {
      for (let number = 1; number <= to; number++) yield { count: number };
    },
    async *silent() {
      await new Promise(() => {});
    },
  },
};

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, path: "/graphql" });
const onConnect = (context) => context.connectionParams?.Authorization !== "Bearer member";
useServer({ schema, roots, onConnect, connectionInitWaitTimeout: 200 }, server);
console.error = () => {}; // what it says of broken clients
server.on("listening", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit(0)).resume();
