"""Starts a run on a cluster when new data has arrived in a bucket: `sightline trigger`.

trigger_file    the file that declares triggers
listing         what lies below a prefix, as a digest
watch           when to list, and when data is whole and new
runs            one run for each state of the data
events          what object stores send
service         the web service that takes it
"""
