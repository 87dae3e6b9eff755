#!/bin/bash
# Workers as a SLURM array: sbatch deploy/slurm/headwise-array.sh
# Each task computes on its GPUs until nothing is ready, or hands its shard back before the limit.
# Needs the database (and the models' folder), not the broker; see docs/howto/slurm.md.
#SBATCH --job-name=headwise
#SBATCH --array=0-7
#SBATCH --gpus=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=32G
#SBATCH --time=01:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --output=headwise-%A-%a.log
set -euo pipefail

export HEADWISE_DATABASE_URL_FILE=${HEADWISE_DATABASE_URL_FILE:-$HOME/.config/headwise/database-url}
export HEADWISE_ALLOWED_FOLDERS=${HEADWISE_ALLOWED_FOLDERS:-/shared/models}
export HEADWISE_HOME=${SLURM_TMPDIR:-/tmp/headwise-$SLURM_JOB_ID}
export HEADWISE_MIGRATE=never

# exec through srun: USR1 goes to job steps, so the worker gets it 120 s before the limit.
exec srun "${HEADWISE:-headwise}" worker --devices "${DEVICES:-all}" --queues "${HEADWISE_QUEUES:-default}" --drain
