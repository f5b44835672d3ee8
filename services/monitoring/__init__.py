"""What an operator is told of the mall: metrics, logs, traces."""
