"""Publication of stores in object storage, with a catalogue that STAC clients and gridlook open."""
