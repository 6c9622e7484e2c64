"""Backup and restore of data folders."""
