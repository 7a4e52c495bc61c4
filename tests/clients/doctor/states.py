def states(findings):
    return {finding.what: finding.state for finding in findings}
