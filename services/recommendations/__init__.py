"""What each member is most likely to want: learnt by a job, read by every process."""
