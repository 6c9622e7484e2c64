"""Sources of initial states on the network: today's analyses, and reanalyses of the past."""
