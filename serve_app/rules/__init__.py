"""Rules: who answers now. Values in, values out."""
