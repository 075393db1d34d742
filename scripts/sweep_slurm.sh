#!/bin/bash
# A sweep on a cluster with Slurm: sbatch scripts/sweep_slurm.sh sweep.toml results.zarr
#
# One task for each GPU; Slurm tells the tasks of one another, so the command is the one that runs
# on a single machine. The store must lie on a file system that all nodes share. Without GPUs, take
# one task a node and --cpus-per-task=<cores>, and leave out --gpus-per-node.
#SBATCH --job-name=sweep
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=08:00:00
#SBATCH --signal=TERM@120      # two minutes before the end: finish the chunk and stop
#SBATCH --requeue              # a job that lost a node, or ran out of time, may begin again

set -u
sweep=$1
store=$2

# --resume begins the store, or goes on with what an earlier job left. Put your environment's
# activation before this line. Should a task die, the others notice within two minutes and end.
srun --kill-on-bad-exit=0 jaxdend sweep "$sweep" --out "$store" --resume
status=$?

# 130: stopped by the signal, with points left to do
if [ "$status" -eq 130 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
