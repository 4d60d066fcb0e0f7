import { SallyportError } from '../../base/errors.ts';
import { FoundRepository } from '../../protocol/runnerApi.ts';

/** What a user says to the repository that was found: yes, or another one. */
export interface Choice {
  repository?: string | undefined;
  branch?: string | undefined;
}

/** The repository that is chosen. Throws `invalid_input` for what is none. */
export function chosenRepository(found: FoundRepository, { repository, branch }: Choice): FoundRepository {
  const other = repository !== undefined && repository !== found.repository;
  const { branch: foundBranch, prompt, ...rest } = found;
  // A branch and a wording were found for the repository that was found.
  const chosenBranch = branch ?? (other ? undefined : foundBranch);
  const chosen = FoundRepository.safeParse({
    ...rest,
    ...(other ? { repository, reason: 'Chosen by the user.' } : {}),
    ...(chosenBranch === undefined ? {} : { branch: chosenBranch }),
    ...(prompt === undefined || other ? {} : { prompt }),
  });
  if (chosen.success && !/^\.+\/|\/\.+$/.test(chosen.data.repository)) return chosen.data;
  throw new SallyportError('invalid_input', 'That is no repository of a forge.', 'Name it as owner/name.');
}
