"""What several rooms share: the words of the domain, settings, errors, storage, ledger and Slack."""
