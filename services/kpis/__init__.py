"""What says whether the mall works for the business: key figures by day (`docs/kpis.md`)."""
