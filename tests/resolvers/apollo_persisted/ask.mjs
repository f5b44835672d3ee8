// Asks the same twice by its hash, as Apollo Client does; prints what it was told and what it sent.
// node ask.mjs ADDRESS POST|GET
import { createHash } from "node:crypto";
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from "@apollo/client";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";

const [address, method] = process.argv.slice(2);
const sent = [];
const told = [];
const http = new HttpLink({
  uri: address,
  fetch: async (url, options) => {
    sent.push([options.method, `${url}${options.body ?? ""}`.includes("hello")]);
    const answer = await fetch(url, options);
    sent.at(-1).push(answer.status);
    return answer;
  },
});
const persisted = new PersistedQueryLink({
  sha256: (text) => createHash("sha256").update(text).digest("hex"),
  useGETForHashedQueries: method === "GET",
});
const client = new ApolloClient({ link: ApolloLink.from([persisted, http]), cache: new InMemoryCache() });
for (const _ of [1, 2]) {
  const { data } = await client.query({ query: gql`query Hello { hello }`, fetchPolicy: "network-only" });
  told.push(data.hello);
}
console.log(JSON.stringify({ sent, told }));
