"""Worker processes for expensive responses, and the queue in front of them.

Libraries that are not thread-safe (HDF5 and netCDF-C, PROJ, matplotlib) run only in these
processes, one job at a time in each, so that neither their faults nor their memory reach the
service. Nothing is imported here, so that a process loads no more than its jobs need.
"""
