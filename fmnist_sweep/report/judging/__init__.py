"""Claims and curves to verdicts, nearest configurations and summaries: pure functions, no input or output."""
