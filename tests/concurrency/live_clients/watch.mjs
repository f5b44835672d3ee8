// Watches a member's rank with every client that apps use; prints what each is told, a line each.
// node watch.mjs ADDRESS TOKEN ("http://127.0.0.1:8000")
import { ApolloClient, InMemoryCache, gql } from "@apollo/client";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { createClient as createEvents } from "graphql-sse";
import { createClient as createSocket } from "graphql-ws";
import WebSocket from "ws";

const [address, token] = process.argv.slice(2);
const url = `${address}/graphql`;
const query = "subscription Rank { rankChanged { previousRank rank } }";
const headers = { Authorization: `Bearer ${token}` };

const say = (client) => (told) => {
  const { previousRank, rank } = told.data.rankChanged;
  console.log(JSON.stringify({ client, previousRank, rank }));
};
const fail = (client) => (error) => {
  console.log(JSON.stringify({ client, error: String(error?.message ?? error?.reason ?? error) }));
};
const sink = (client) => ({ next: say(client), error: fail(client), complete: () => {} });
const socket = () =>
  createSocket({
    url: url.replace("http", "ws"),
    webSocketImpl: WebSocket,
    connectionParams: headers,
  });

socket().subscribe({ query }, sink("graphql-ws"));
createEvents({ url, headers }).subscribe({ query }, sink("graphql-sse"));

const apollo = new ApolloClient({ link: new GraphQLWsLink(socket()), cache: new InMemoryCache() });
apollo.subscribe({ query: gql(query) }).subscribe(sink("apollo"));

process.stdin.on("end", () => process.exit(0)).resume();
