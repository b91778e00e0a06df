"""How it moves: options, protocols, plan, run, lease, ledger, retry, quarantine. Knows no system and no orchestrator."""
