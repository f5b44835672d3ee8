"""Root fields of the GraphQL API and the endpoint that serves them."""
