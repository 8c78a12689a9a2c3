"""One task instance, one bill: create a job, find it again, remember it across tries."""
