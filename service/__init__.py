"""How people and programs reach PEAR: HTTP service, dashboard and command line."""
