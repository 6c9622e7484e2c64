"""The forecast engine: dispatcher, cluster and the tasks of workers."""
