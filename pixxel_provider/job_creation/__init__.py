"""One task instance, one bill: create a job, reconcile it with the list, keep a checkpoint across tries."""
