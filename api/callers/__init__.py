"""Who may call what is not for everybody: the admin API and the decision API."""
