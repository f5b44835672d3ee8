"""What the mall does: plain functions that know no GraphQL and never commit."""
