"""Dashboard: pages rendered on the server and small JavaScript modules, all served locally."""
