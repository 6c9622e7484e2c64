"""The pages: templates rendered here, small JavaScript modules, everything served locally."""
