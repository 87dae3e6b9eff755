"""The dashboard's server: connections with deadlines, bodies with budgets, rooms with limits."""
