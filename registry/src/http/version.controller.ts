import { Controller, Get, Head, Header } from '@nestjs/common';

/** Says that this is a registry. https://github.com/opencontainers/distribution-spec/blob/main/spec.md#determining-support */
@Controller('version')
export class VersionController {
  @Get()
  @Header('Content-Type', 'application/json')
  get(): string {
    return '{}';
  }

  @Head()
  @Header('Content-Type', 'application/json')
  head(): string {
    return this.get();
  }
}
