"""Latitude-longitude datasets of any origin: their names, units and axes, brought to PEAR's."""
